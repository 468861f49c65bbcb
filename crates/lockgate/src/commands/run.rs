//! `preview`, `up`, `destroy`, `refresh`: one run of the engine, or two of them with a question
//! between.

mod after;
mod interrupts;
mod session;

use std::io::{self, BufRead as _, IsTerminal as _};
use std::sync::Arc;

use lockgate_diag::{Code, Diagnostic, codes};
use lockgate_engine::event::RunResult;
use lockgate_engine::{
    DeleteGuard, Import, Interrupts, Operation, Options, Plan, Providers, RunOutcome, RunRequest,
};
use lockgate_model::{Snapshot, StepOp};
use lockgate_state::RunKind;

use crate::cli::{Destroy, Preview, Run, Up};
use crate::display::plan;
use crate::display::progress::{Display, REDRAW, Style};
use crate::failure::{CommandError, usage};
use crate::workspace::App;

use session::Session;
pub(crate) use session::moment;

/// Largest share of a stack that an `up` may delete without being told so. Above it, a lost
/// message or a wrong branch is likelier than intent.
const DELETE_SHARE_MAX: f64 = 0.5;
/// Stacks this small are deleted from freely.
const DELETE_COUNT_FREE: u64 = 5;

/// `lockgate preview`.
pub(crate) async fn preview(app: &App, args: &Preview) -> Result<(), CommandError> {
    let session = Session::open_for_preview(app, &args.run)?;
    let interrupts = interrupts::listen(&app.printer);
    let run = Engine {
        app,
        session: &session,
        args: &args.run,
        interrupts,
        imports: Vec::new(),
    };
    let style = if app.printer.json() {
        Style::Json
    } else {
        Style::Plan
    };
    let base = session.base();
    let (outcome, display) = run
        .once(Operation::Preview, base, style, None, false)
        .await?;
    verdict(app, Operation::Preview, (&outcome, &display))?;
    if style == Style::Plan {
        app.printer.line(&plan::counts(&outcome.summary))?;
    }
    if args.exit_code && has_changes(&outcome) {
        return Err(CommandError::Changes);
    }
    Ok(())
}

/// `lockgate up`.
pub(crate) async fn up(app: &App, args: &Up) -> Result<(), CommandError> {
    change(app, &args.run, Operation::Up, args.expect_no_changes).await
}

/// `lockgate destroy`.
pub(crate) async fn destroy(app: &App, args: &Destroy) -> Result<(), CommandError> {
    change(app, &args.run, Operation::Destroy, false).await
}

/// `lockgate refresh`.
pub(crate) async fn refresh(app: &App, args: &Destroy) -> Result<(), CommandError> {
    change(app, &args.run, Operation::Refresh, false).await
}

/// Takes resources in, as `wanted` chooses them once the stack is open.
pub(crate) async fn import(
    app: &App,
    args: &Run,
    wanted: impl FnOnce(&Snapshot, &dyn Providers) -> Result<Vec<Import>, CommandError>,
) -> Result<(), CommandError> {
    need_an_answer(app)?;
    let interrupts = interrupts::listen(&app.printer);
    let session = Session::open_for_change(app, args, RunKind::Import)?;
    let imports = match wanted(&session.base(), session.providers().as_ref()) {
        Ok(imports) => imports,
        Err(error) => {
            let nothing = Ended {
                outcome: None,
                result: Err(error),
            };
            return session.close(app, nothing).await;
        }
    };
    let run = Engine {
        app,
        session: &session,
        args,
        interrupts,
        imports,
    };
    let outcome = run.ask_and_apply(Operation::Import, false).await;
    session.close(app, outcome).await
}

/// Refuses to go on where a question would have no one to answer it.
pub(crate) fn need_an_answer(app: &App) -> Result<(), CommandError> {
    if app.global.yes || io::stdin().is_terminal() {
        return Ok(());
    }
    Err(usage(
        "nobody can be asked: standard input is not a terminal",
        "add `--yes` to go on without a question",
    ))
}

/// Foretells, asks, and then does exactly what was foretold.
async fn change(
    app: &App,
    args: &Run,
    operation: Operation,
    expect_no_changes: bool,
) -> Result<(), CommandError> {
    need_an_answer(app)?;
    let interrupts = interrupts::listen(&app.printer);
    let session = Session::open_for_change(app, args, kind(operation))?;
    let run = Engine {
        app,
        session: &session,
        args,
        interrupts,
        imports: Vec::new(),
    };
    let outcome = run.ask_and_apply(operation, expect_no_changes).await;
    session.close(app, outcome).await
}

const fn kind(operation: Operation) -> RunKind {
    match operation {
        Operation::Preview => RunKind::Preview,
        Operation::Up => RunKind::Update,
        Operation::Destroy => RunKind::Destroy,
        Operation::Refresh => RunKind::Refresh,
        Operation::Import => RunKind::Import,
    }
}

/// How a change ended, for the session to write down.
pub(crate) struct Ended {
    /// The engine's verdict; `None` when nothing was started.
    pub(crate) outcome: Option<RunOutcome>,
    /// What the command says.
    pub(crate) result: Result<(), CommandError>,
}

struct Engine<'a> {
    app: &'a App,
    session: &'a Session,
    args: &'a Run,
    interrupts: Interrupts,
    imports: Vec<Import>,
}

impl Engine<'_> {
    async fn ask_and_apply(&self, operation: Operation, expect_no_changes: bool) -> Ended {
        let nothing = |result| Ended {
            outcome: None,
            result,
        };
        let style = if self.app.printer.json() {
            Style::Json
        } else {
            Style::Plan
        };
        let base = self.session.base();
        let foretold = self.once(operation, base, style, None, false).await;
        let (foretold, display) = match foretold {
            Ok(pair) => pair,
            Err(error) => return nothing(Err(error)),
        };
        if let Err(error) = verdict(self.app, operation, (&foretold, &display)) {
            return nothing(Err(error));
        }
        if !self.app.printer.json() {
            self.app.printer.say(&plan::counts(&foretold.summary));
        }
        let changes = has_changes(&foretold);
        if changes && expect_no_changes {
            return nothing(Err(CommandError::Failed(vec![Diagnostic::error(
                codes::program::EXPECTED_NO_CHANGES,
                "no changes were expected, but the plan above has some",
            )])));
        }
        if !changes && !foretold.state_changes {
            let result = after::report(self.app, self.session, &foretold, &[], &self.imports);
            return Ended {
                outcome: Some(foretold),
                result,
            };
        }
        if changes && !self.app.global.yes {
            match confirm(self.app, operation) {
                Ok(true) => {}
                Ok(false) => {
                    self.app.printer.say("nothing was changed");
                    return nothing(Ok(()));
                }
                Err(error) => return nothing(Err(error)),
            }
        }
        // What was foretold is as large as the state; only the plan goes on.
        let plan = { foretold }.plan;
        drop(display);
        self.apply(operation, plan).await
    }

    async fn apply(&self, operation: Operation, plan: Plan) -> Ended {
        let style = if self.app.printer.json() {
            Style::Json
        } else {
            Style::Work
        };
        let base = self.session.base();
        match self.once(operation, base, style, Some(plan), true).await {
            Ok((outcome, display)) => {
                let result = match verdict(self.app, operation, (&outcome, &display)) {
                    Ok(()) => {
                        let made = display.take_made();
                        after::report(self.app, self.session, &outcome, &made, &self.imports)
                    }
                    Err(error) => Err(error),
                };
                Ended {
                    outcome: Some(outcome),
                    result,
                }
            }
            Err(error) => Ended {
                outcome: None,
                result: Err(error),
            },
        }
    }

    async fn once(
        &self,
        operation: Operation,
        base: Snapshot,
        style: Style,
        constraint: Option<Plan>,
        journaled: bool,
    ) -> Result<(RunOutcome, Arc<Display>), CommandError> {
        let app = self.app;
        let source = if needs_program(operation) {
            Some(self.session.source(app, self.args)?)
        } else {
            None
        };
        let display = Arc::new(Display::new(
            app.printer.clone(),
            style,
            self.args.verbose,
            Arc::clone(&app.clock),
        ));
        let request = RunRequest {
            operation,
            project: self.session.stack.project().to_owned(),
            stack: self.session.stack.stack().to_owned(),
            base,
            source,
            providers: self.session.providers(),
            journal: if journaled {
                self.session.journal()
            } else {
                None
            },
            events: Arc::clone(&display) as _,
            clock: Arc::clone(&app.clock),
            rng: Arc::clone(&app.rng),
            interrupts: self.interrupts.clone(),
            options: self.options(constraint),
        };
        let mut run = std::pin::pin!(lockgate_engine::run(request));
        let mut redraw = tokio::time::interval(REDRAW);
        let outcome = loop {
            tokio::select! {
                outcome = &mut run => break outcome,
                _ = redraw.tick() => display.tick(),
            }
        };
        Ok((outcome, display))
    }

    fn options(&self, constraint: Option<Plan>) -> Options {
        let guard = DeleteGuard {
            count_max: None,
            share_max: Some(DELETE_SHARE_MAX),
        };
        let small = self.session.managed() <= DELETE_COUNT_FREE;
        Options {
            parallel: self.args.parallel as usize,
            targets: self.args.target.clone(),
            target_dependents: self.args.target_dependents,
            excludes: self.args.exclude.clone(),
            exclude_dependents: self.args.exclude_dependents,
            imports: self.imports.clone(),
            replace: self.args.replace.clone(),
            continue_on_error: self.args.continue_on_error,
            refresh: self.args.refresh,
            clear_pending_creates: self.args.clear_pending_creates,
            expect_no_changes: false,
            delete_guard: (!self.args.allow_deletes && !small).then_some(guard),
            package_config: self.session.package_config.clone(),
            stack_config: self.session.config.clone(),
            constraint,
        }
    }
}

const fn needs_program(operation: Operation) -> bool {
    matches!(operation, Operation::Preview | Operation::Up)
}

/// Whether anything is made, changed or deleted. Looking at what others manage is no change.
fn has_changes(outcome: &RunOutcome) -> bool {
    let quiet = [StepOp::Same, StepOp::Read, StepOp::ReadReplacement].map(StepOp::as_str);
    let mut changes = outcome.summary.changes.iter();
    changes.any(|(op, n)| !quiet.contains(op) && *n > 0)
}

/// Prints what went wrong and turns it into the exit code.
fn verdict(
    app: &App,
    operation: Operation,
    (outcome, display): (&RunOutcome, &Display),
) -> Result<(), CommandError> {
    let diagnostics = display.take_diagnostics();
    match outcome.summary.result {
        RunResult::Succeeded => {
            app.printer.diagnostics(&diagnostics);
            Ok(())
        }
        RunResult::Canceled => {
            app.printer.diagnostics(&diagnostics);
            Err(CommandError::Interrupted)
        }
        // A wrong program that changed nothing is a file error; a failed resource is a failed
        // operation.
        RunResult::Failed if is_program_error(operation, outcome, &diagnostics) => {
            Err(CommandError::Usage(diagnostics))
        }
        RunResult::Failed => Err(CommandError::Failed(diagnostics)),
    }
}

/// What the engine finds wrong with the declaration of a resource. It has no place where the text
/// of the program cannot be read.
const MISTAKES: &[Code] = &[
    codes::program::CHECK_FAILED,
    codes::program::UNKNOWN_TYPE,
    codes::program::DUPLICATE_URN,
    codes::program::UNKNOWN_PARENT,
    codes::program::ALIAS_CONFLICT,
    codes::program::BAD_OPTION,
    codes::program::PROVIDER_MISSING,
];

/// Whether all that is wrong is the program, and nothing was changed: a preview only foretells.
fn is_program_error(
    operation: Operation,
    outcome: &RunOutcome,
    diagnostics: &[Diagnostic],
) -> bool {
    let has_program = needs_program(operation);
    let is_mistake =
        |d: &Diagnostic| !d.labels.is_empty() || has_program && MISTAKES.contains(&d.code);
    let mut errors = diagnostics.iter().filter(|d| d.is_error()).peekable();
    let untouched = outcome.summary.preview || !has_changes(outcome);
    untouched && errors.peek().is_some() && errors.all(is_mistake)
}

/// Asks on the terminal.
fn confirm(app: &App, operation: Operation) -> Result<bool, CommandError> {
    let question = match operation {
        Operation::Destroy => "Destroy these resources?",
        Operation::Refresh => "Take these differences over into the state?",
        Operation::Import => "Take these resources into the stack?",
        _ => "Make these changes?",
    };
    ask(app, question)
}

/// Asks a question on the terminal.
pub(crate) fn ask(app: &App, question: &str) -> Result<bool, CommandError> {
    app.printer.talk(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
