//! YAML programs as a source of resources for the engine.
//!
//! In: the program's files, the stack config in clear (secrets wrapped), the schemas of the
//! packages. Out: a [`YamlSource`] that registers resources in dependency order, as many at once
//! as are ready, or every mistake of the program at its place.
//! Stages: text → tree (`lockgate-config`) → [`Program`] → [`check()`] → evaluation. Evaluation is
//! pure; calls of functions with effects (invokes, files) run before the expression around them.
//! Never: a registration of a program that has an error; a file outside [`Files`].
//!
//! Start reading at [`load()`], then [`Program::parse`], [`check()`] and `source`.
#![deny(missing_docs)]

mod check;
mod evaluate;
mod expression;
mod files;
mod function;
mod load;
mod parse;
mod program;
mod reference;
mod source;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use check::{Checked, Context, check, find_resource_type};
pub use files::{Files, ProjectFiles, READ_BYTES_MAX};
pub use load::{Loaded, load};
pub use program::Program;
pub use source::YamlSource;
