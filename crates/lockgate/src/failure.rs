//! How a command fails, and with which exit code: 1 the operation failed, 2 the command, a file or
//! the program is wrong, 3 changes were found, 130 interrupted (`docs/reference/exit-codes.md`).

use std::process::ExitCode;

use lockgate_diag::{Code, Diagnostic, codes};

use crate::printer::Printer;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// Wrong use, a wrong file or a wrong program; nothing was touched.
    Usage(Vec<Diagnostic>),
    /// The operation failed; it said so already or says it here.
    Failed(Vec<Diagnostic>),
    /// Changes were found where they were asked about.
    Changes,
    /// Stopped by the user.
    Interrupted,
    /// Standard output was closed; what was asked for was delivered as far as wanted.
    BrokenPipe,
}

impl CommandError {
    /// Prints what there is to say and gives the exit code.
    pub(crate) fn report(&self, printer: &Printer) -> ExitCode {
        match self {
            Self::Usage(diagnostics) => {
                printer.diagnostics(diagnostics);
                ExitCode::from(2)
            }
            Self::Failed(diagnostics) => {
                printer.diagnostics(diagnostics);
                ExitCode::from(1)
            }
            Self::Changes => ExitCode::from(3),
            Self::Interrupted => {
                printer.say("interrupted; the state is saved");
                ExitCode::from(130)
            }
            Self::BrokenPipe => ExitCode::SUCCESS,
        }
    }
}

/// A usage error with one next step.
pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> CommandError {
    CommandError::Usage(vec![
        Diagnostic::error(codes::settings::USAGE, message).hint(hint),
    ])
}

/// An operation that failed because of `error`, with its chain as causes.
pub(crate) fn failed(
    code: Code,
    message: impl Into<String>,
    error: &(dyn std::error::Error + 'static),
) -> CommandError {
    CommandError::Failed(vec![Diagnostic::error(code, message).caused_by(error)])
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        let diagnostic = Diagnostic::error(codes::settings::FILE_UNREADABLE, error.to_string());
        Self::Usage(vec![diagnostic])
    }
}
