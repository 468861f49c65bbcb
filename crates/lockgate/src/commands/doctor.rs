//! `lockgate doctor`: what this machine can do, found by trying.

use lockgate_service::Verdict;
use serde_json::{Value as Json, json};

use crate::failure::CommandError;
use crate::workspace::App;

/// Runs the checks and prints them; fails when one of them failed.
pub(crate) fn run(app: &App) -> Result<(), CommandError> {
    let exe = std::env::current_exe()?;
    let report = lockgate_service::doctor(&app.environment.home, &exe);
    if app.printer.json() {
        let rows: Vec<Json> = report
            .checks
            .iter()
            .map(|check| {
                json!({
                    "name": check.name, "verdict": check.verdict.as_str(), "cause": check.cause,
                    "remedy": check.remedy,
                })
            })
            .collect();
        app.printer.json_document(&json!({ "checks": rows }))?;
    } else {
        for check in &report.checks {
            let verdict = check.verdict.as_str();
            app.printer
                .line(&format!("{verdict:<8} {:<16} {}", check.name, check.cause))?;
            if !check.remedy.is_empty() {
                app.printer
                    .line(&format!("{:26}do: {}", "", check.remedy))?;
            }
        }
    }
    let missing = report
        .checks
        .iter()
        .any(|check| check.verdict == Verdict::Missing);
    if missing {
        Err(CommandError::Failed(Vec::new()))
    } else {
        Ok(())
    }
}
