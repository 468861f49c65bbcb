//! Tar archives: a writer whose bytes depend on nothing but its input, and a reader that trusts
//! nothing.
//!
//! Both speak ustar with PAX extensions (POSIX.1-2001 pax); the reader also knows GNU long names.

mod read;
mod write;

pub use read::TarError;
pub(crate) use read::{Limits, Member, MemberKind, TarReader, clean_path};
pub(crate) use write::{Header, HeaderKind, TarWriter};

/// Size of a tar block.
const BLOCK: usize = 512;

#[cfg(test)]
mod tests;
