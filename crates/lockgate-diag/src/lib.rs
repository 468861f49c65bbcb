//! Diagnostics of Lockgate: what is wrong, where, and what to do next.
//!
//! In: a [`Diagnostic`] built by a parser, a checker, the engine or a command.
//! Out: text for a terminal ([`Renderer`]) or a JSON object ([`to_json`]).
//! Also here, because every crate needs them: [`Secret`], which never prints its value, and
//! [`did_you_mean`].
//!
//! This crate does no I/O and never looks at the environment: width and colour are passed in.
//! Start reading at [`Diagnostic`]; the table of codes is [`codes::ALL`].
#![deny(missing_docs)]

mod diagnostic;
mod render;
mod secret;
mod suggest;

pub mod codes;

pub use diagnostic::{Code, Diagnostic, Label, Severity, SourceFile, Span};
pub use render::{Renderer, to_json};
pub use secret::{REDACTED, Secret};
pub use suggest::did_you_mean;
