//! The Dockerfile front end: text to instructions with spans (`parse`), and variable expansion
//! (`expand`). What the instructions mean is decided in [`crate::recipe`].
//!
//! Own parser rather than a crate: the ones at hand stop at the first mistake and refuse part of
//! BuildKit's fixtures, and every word needs its place in the file.

pub(crate) mod expand;
mod parse;
mod words;

pub(crate) use parse::{
    DOCKERFILE_BYTES_MAX, Dockerfile, Instruction, Keyword, Word, parse, parse_trigger,
};

#[cfg(test)]
mod tests;
