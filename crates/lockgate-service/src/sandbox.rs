//! The inside of an instance: one binary, executed twice more, always single-threaded.
//!
//! `sandbox-init` (A) makes the name spaces and exits; `sandbox-pid1` (B) builds the root, drops
//! what it may, starts the program and stays as pid 1; `sandbox-join` runs a health command in
//! an instance. Everything a `pre_exec` would do, B does to itself and the program inherits, so
//! all of it is safe code and a failed step comes back with its true error.

pub(crate) mod channel;
mod filter;
mod harden;
mod init;
pub(crate) mod join;
pub(crate) mod output;
pub(crate) mod pid1;
pub(crate) mod root;
pub(crate) mod spec;
pub(crate) mod supervise;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Name of the first execution, as `argv[1]`.
pub(crate) const INIT: &str = "sandbox-init";
/// Name of the second.
pub(crate) const PID1: &str = "sandbox-pid1";
/// Name of the one that enters an instance.
pub(crate) const JOIN: &str = "sandbox-join";

/// Runs a part of a sandbox if `args` (with the program name first) ask for one.
///
/// Call it first thing in `main`, before any thread, runtime or logging exists: making a user
/// name space needs a single thread. `None` means that the arguments are somebody else's.
pub fn sandbox_main(args: &[OsString]) -> Option<ExitCode> {
    let done = match args.get(1)?.to_str()? {
        INIT => init::run(),
        PID1 => pid1::run(),
        JOIN => join::run(),
        _ => return None,
    };
    Some(done.unwrap_or_else(|error| {
        // To a file in the instance's folder; if it is full there is nobody else to tell.
        let _ = writeln!(io::stderr(), "{}: {error}", args[1].display());
        ExitCode::FAILURE
    }))
}

/// A step of a sandbox that failed; travels to the node as a [`channel::Report`].
#[derive(Debug)]
pub(crate) struct StepError {
    /// Name of the step.
    pub(crate) step: &'static str,
    /// What the kernel said.
    pub(crate) source: io::Error,
}

/// Names the step of a fallible call.
pub(crate) trait Step<T> {
    /// Maps the error to one that carries `step`.
    fn step(self, step: &'static str) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &'static str) -> Result<T, StepError> {
        self.map_err(|source| StepError {
            step,
            source: source.into(),
        })
    }
}
