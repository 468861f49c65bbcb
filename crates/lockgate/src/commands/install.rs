//! `lockgate install`: the packages of a program, by the tools of its language.

use std::process::{Command, Stdio};

use lockgate_diag::{Diagnostic, codes};

use crate::failure::{CommandError, failed};
use crate::program;
use crate::workspace::App;

/// Runs each step of the installation; their output is talk. The tools keep the user's whole
/// environment: where packages come from is set there.
pub(crate) fn run(app: &App) -> Result<(), CommandError> {
    let project = app.project()?;
    if project.runtime.name == "yaml" {
        app.printer.say("a YAML program needs no packages");
        return Ok(());
    }
    let language = program::language(&project)?;
    let main = project.main.as_deref();
    let steps = lockgate_pulumi::install(language, &project.root, main, &project.runtime.options)
        .map_err(|diagnostic| CommandError::Usage(vec![*diagnostic]))?;
    for step in steps {
        let line = step.argv.join(" ");
        app.printer.say(&format!("$ {line}"));
        let Some((tool, args)) = step.argv.split_first() else {
            continue;
        };
        let status = Command::new(tool)
            .args(args)
            .current_dir(&step.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::from(std::io::stderr()))
            .status()
            .map_err(|error| {
                let text = format!("`{tool}` cannot be started");
                failed(codes::program::TOOLCHAIN_MISSING, text, &error)
            })?;
        if !status.success() {
            let text = format!("`{line}` failed: {status}");
            return Err(CommandError::Failed(vec![Diagnostic::error(
                codes::program::TOOLCHAIN_MISSING,
                text,
            )]));
        }
    }
    Ok(())
}
