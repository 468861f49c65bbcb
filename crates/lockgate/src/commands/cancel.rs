//! `lockgate cancel`.

use crate::failure::CommandError;
use crate::workspace::{App, state_error};

/// Takes the lease of the stack away from its holder, who can write nothing more.
pub(crate) fn run(app: &App) -> Result<(), CommandError> {
    let (_, backend, stack) = app.opened()?;
    match backend.cancel(&stack).map_err(|e| state_error(&e))? {
        Some(holder) => app
            .printer
            .say(&format!("took the lease of `{stack}` from {holder}")),
        None => app.printer.say(&format!("nobody works on `{stack}`")),
    }
    Ok(())
}
