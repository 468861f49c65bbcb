//! Programs in Python and Node.js as an engine [`Source`](lockgate_engine::Source).
//!
//! In: a project of runtime `python` or `nodejs`, its config in clear, and the engine's monitor.
//! Out: registrations, reads and function calls of the program, as the engine's own types.
//! Never: a deployment decision. It translates, it does not judge; and it knows nothing of YAML,
//! of state files or of what a provider does.
//!
//! The only crate that knows the wire protocol of the `pulumi` SDKs (engine guide, sections 2-8).
//! Start reading at [`PulumiSource`]: it starts [`server`], then the language process
//! ([`process`]), and says how the program ended. `monitor` answers requests with the help of
//! `request` and `wire`; `progress` is what all of them know about the run, `place` shows an error
//! in the program's text.
#![deny(missing_docs)]

mod assets;
mod duration;
mod generated;
mod language;
mod monitor;
mod place;
mod process;
mod progress;
mod request;
mod server;
mod source;
mod wire;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use language::{Install, Language, install};
pub use source::{ProgramSettings, PulumiSource};
