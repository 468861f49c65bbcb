//! HTTP/1.1 without I/O: bytes in, checked parts out, and the writer of canonical bytes.
//!
//! Strict in, canonical out: what is ambiguous is refused, and what is forwarded is written here
//! from validated parts, never copied as a raw head (RFC 9112).

pub(crate) mod body;
pub(crate) mod field;
pub(crate) mod head;
pub(crate) mod write;

#[cfg(test)]
mod tests;
