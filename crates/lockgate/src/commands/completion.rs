//! `lockgate completion SHELL`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::CommandError;
use crate::printer::Printer;

/// Prints the completion script of a shell.
pub(crate) fn run(shell: Shell, printer: &Printer) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lockgate", &mut script);
    Ok(printer.data(&String::from_utf8_lossy(&script))?)
}
