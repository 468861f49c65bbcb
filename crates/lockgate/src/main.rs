//! The `lockgate` command: parse, resolve, run, report.
//!
//! `main` first looks whether it was started again by itself as a part of a sandbox: that must
//! happen before any thread, any logging and any parsing. Commands live in [`commands`], one file
//! each; they get an [`App`] and never read a flag's raw form or a variable.

mod cli;
mod commands;
mod display;
mod failure;
mod fault;
mod lock;
mod node;
mod packages;
mod printer;
mod program;
mod settings;
mod stacks;
mod system;
mod tail;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::failure::CommandError;
use crate::printer::Printer;
use crate::settings::Environment;
use crate::workspace::App;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = lockgate_service::sandbox_main(&args) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data and succeed; anything else is a usage error.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let environment = Environment::read();
    let no_color = environment.as_ref().is_ok_and(|e| e.no_color);
    let printer = Printer::new(cli.global.color, no_color, cli.global.json);
    let outcome = environment
        .and_then(|environment| App::new(cli.global, environment, printer.clone()))
        .and_then(|app| run(&app, &cli.command));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(&printer),
    }
}

fn run(app: &App, command: &Command) -> Result<(), CommandError> {
    match command {
        Command::New(args) => commands::new::run(args, &app.folder, &app.printer),
        Command::Preview(args) => in_runtime(commands::run::preview(app, args)),
        Command::Up(args) => in_runtime(commands::run::up(app, args)),
        Command::Destroy(args) => in_runtime(commands::run::destroy(app, args)),
        Command::Refresh(args) => in_runtime(commands::run::refresh(app, args)),
        Command::Import(args) => in_runtime(commands::import::run(app, args)),
        Command::State(command) => commands::state::run(app, command),
        Command::Install => commands::install::run(app),
        Command::Stack(command) => commands::stack::run(app, command),
        Command::Config(command) => commands::config::run(app, command),
        Command::Pin(args) => in_runtime(commands::pin::run(app, args)),
        Command::Node(command) => in_runtime(commands::node::run(app, command)),
        Command::Ai(command) => in_runtime(commands::ai::run(app, command)),
        Command::Serve(args) => node::serve::run(app, args),
        Command::Console(args) => in_runtime(commands::console::run(app, args)),
        Command::Logs(args) => in_runtime(commands::logs::run(app, args)),
        Command::Cancel => commands::cancel::run(app),
        Command::Doctor => commands::doctor::run(app),
        Command::Explain { code } => commands::explain::run(app, code),
        Command::Completion { shell } => commands::completion::run(*shell, &app.printer),
        Command::Version => commands::version::run(&app.printer),
    }
}

/// Runs a command that talks to others. Commands without network never pay for a runtime.
fn in_runtime(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(command);
    // A provider call that ignores its cancellation must not keep the command alive.
    runtime.shutdown_background();
    result
}
