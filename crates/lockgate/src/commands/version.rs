//! `lockgate version`.

use serde_json::json;

use crate::failure::CommandError;
use crate::printer::Printer;

/// Prints the version.
pub(crate) fn run(printer: &Printer) -> Result<(), CommandError> {
    let version = env!("CARGO_PKG_VERSION");
    if printer.json() {
        return Ok(printer.json_document(&json!({ "version": version }))?);
    }
    Ok(printer.line(&format!("lockgate {version}"))?)
}
