//! One run of the engine: what goes in, what comes out, and its phases.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_diag::{Diagnostic, codes};
use lockgate_model::{Clock, JournalEntry, PropertyMap, Rng, Snapshot, Urn, Value};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::event::{EngineEvent, EventSink, RunResult, Summary};
use crate::integrity;
use crate::journal::{Durability, Journal, replay};
use crate::monitor::EngineMonitor;
use crate::plan::Plan;
use crate::provider::Providers;
use crate::source::{Registration, Source, SourceError};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Foretell an `up`; no effects.
    Preview,
    /// Make the world what the program wants.
    Up,
    /// Remove everything; needs no program.
    Destroy,
    /// Read everything back; needs no program.
    Refresh,
    /// Take resources that exist into the state; needs no program.
    Import,
}

/// A resource that exists and should be managed from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// Full type token.
    pub type_token: String,
    /// Name it gets.
    pub name: String,
    /// The id under which its provider knows it.
    pub id: String,
    /// Parent in the state; the root when `None`.
    pub parent: Option<Urn>,
    /// Provider in the state as `<urn>::<id>`; the default one of its package when `None`.
    pub provider: Option<String>,
    /// It may not be deleted until a program says otherwise.
    pub protect: bool,
}

/// The two interrupts.
#[derive(Clone, Default)]
pub struct Interrupts {
    /// First: no new step starts, running ones finish.
    pub stop: CancellationToken,
    /// Second: provider calls are cancelled too.
    pub abort: CancellationToken,
}

/// When a run deletes too much to be trusted. Replacements do not count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeleteGuard {
    /// Most deletes.
    pub count_max: Option<u64>,
    /// Largest share of the managed resources of the stack, 0 to 1.
    pub share_max: Option<f64>,
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most provider mutations at a time; at least 1.
    pub parallel: usize,
    /// URNs or globs (`*` within a part, `**` anything); empty means everything.
    pub targets: Vec<String>,
    /// A targeted run may also delete what depends on a target.
    pub target_dependents: bool,
    /// URNs or globs of resources that are left alone; together with `targets` they are taken
    /// out of those.
    pub excludes: Vec<String>,
    /// What depends on an excluded resource is left alone, too.
    pub exclude_dependents: bool,
    /// URNs or globs of resources to be replaced.
    pub replace: Vec<String>,
    /// Go on with what does not depend on a failed resource.
    pub continue_on_error: bool,
    /// Read everything back first.
    pub refresh: bool,
    /// Forget creates of earlier runs whose outcome is unknown, instead of repeating them.
    pub clear_pending_creates: bool,
    /// Any change is an error.
    pub expect_no_changes: bool,
    /// Refuses runs of `up` that delete too much.
    pub delete_guard: Option<DeleteGuard>,
    /// Config of default providers, by package.
    pub package_config: BTreeMap<String, PropertyMap>,
    /// Stack config for the prelude event.
    pub stack_config: BTreeMap<String, Value>,
    /// Steps outside this plan are refused.
    pub constraint: Option<Plan>,
    /// What [`Operation::Import`] takes in, in this order.
    pub imports: Vec<Import>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // As many as the original's default; provider calls mostly wait.
            parallel: 16,
            targets: Vec::new(),
            target_dependents: false,
            excludes: Vec::new(),
            exclude_dependents: false,
            replace: Vec::new(),
            continue_on_error: false,
            refresh: false,
            clear_pending_creates: false,
            expect_no_changes: false,
            delete_guard: None,
            package_config: BTreeMap::new(),
            stack_config: BTreeMap::new(),
            constraint: None,
            imports: Vec::new(),
        }
    }
}

/// Everything a run needs.
pub struct RunRequest {
    /// What to do.
    pub operation: Operation,
    /// Project name.
    pub project: String,
    /// Stack name.
    pub stack: String,
    /// The state to start from.
    pub base: Snapshot,
    /// The program; not used by destroy and refresh.
    pub source: Option<Box<dyn Source>>,
    /// Resource packages.
    pub providers: Arc<dyn Providers>,
    /// Where steps are written down. Without one the run is a preview of its operation.
    pub journal: Option<Arc<dyn Journal>>,
    /// Where events go.
    pub events: Arc<dyn EventSink>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Interrupts.
    pub interrupts: Interrupts,
    /// How.
    pub options: Options,
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct RunOutcome {
    /// Counts, time, verdict; also the last event.
    pub summary: Summary,
    /// What was decided.
    pub plan: Plan,
    /// Whether the state differs after the run, or would after the run that was foretold: also
    /// when only an option or an output of the stack does.
    pub state_changes: bool,
    /// Outputs of the stack.
    pub outputs: PropertyMap,
    /// The state after the run: the replay of its journal over the base.
    pub snapshot: Snapshot,
}

/// Runs an operation to its end. Never returns early: whatever fails is reported as an event and
/// shows in the summary. Not cancel safe; use [`Interrupts`].
pub async fn run(request: RunRequest) -> RunOutcome {
    let (engine, source) = Engine::new(request);
    engine.emit(EngineEvent::Prelude {
        config: engine.options.stack_config.clone(),
    });
    if let Err(errors) = integrity::check(&engine.base) {
        let mut diagnostic = Diagnostic::error(
            codes::program::BROKEN_STATE,
            format!("the state of stack `{}` is broken", engine.stack),
        );
        for error in errors.iter().take(SHOWN_MAX) {
            diagnostic = diagnostic.cause(error.to_string());
        }
        engine.report(diagnostic);
        return conclude(&engine).await;
    }
    engine.announce_pending().await;
    match engine.operation {
        Operation::Refresh => {
            if engine.check_targets_exist() {
                engine.refresh().await;
            }
        }
        Operation::Destroy => {
            if !engine.check_targets_exist() {
                return conclude(&engine).await;
            }
            if engine.options.refresh {
                engine.refresh().await;
            }
            engine.delete_phase().await;
        }
        Operation::Import => engine.import_all().await,
        Operation::Preview | Operation::Up => {
            if engine.options.refresh {
                engine.refresh().await;
            }
            run_program(&engine, source).await;
        }
    }
    conclude(&engine).await
}

/// Most faults of a broken state that are named.
const SHOWN_MAX: usize = 10;

async fn run_program(engine: &Arc<Engine>, source: Option<Box<dyn Source>>) {
    let Some(mut source) = source else {
        let message = "an update was started without a program";
        engine.report(Diagnostic::error(codes::program::ENGINE_BUG, message));
        return;
    };
    let stack = Registration {
        type_token: lockgate_model::urn::STACK_TYPE.to_owned(),
        name: format!("{}-{}", engine.project, engine.stack),
        ..Registration::default()
    };
    if Arc::clone(engine).register(stack).await.is_err() {
        return;
    }
    let monitor = Arc::new(EngineMonitor::new(Arc::clone(engine)));
    let ended = tokio::select! {
        ended = source.run(monitor) => ended,
        () = engine.interrupts.abort.cancelled() => Err(SourceError::Stopped),
    };
    engine.drain().await;
    tell(engine, ended);
    engine.check_targets_exist();
    engine.delete_phase().await;
    engine.settle_stack_outputs().await;
    tokio::select! {
        ended = source.finish() => tell(engine, ended),
        () = engine.interrupts.abort.cancelled() => {}
    }
}

/// Reports how a program ended, unless it ended well.
fn tell(engine: &Engine, ended: Result<(), SourceError>) {
    match ended {
        Ok(()) => {}
        Err(SourceError::Diagnostics(diagnostics)) => {
            engine.fail_run();
            for diagnostic in diagnostics {
                engine.emit(EngineEvent::Diagnostic(Box::new(diagnostic)));
            }
        }
        Err(SourceError::Stopped) => engine.fail_run(),
        Err(SourceError::Failed(message)) => {
            engine.report(Diagnostic::error(codes::program::PROGRAM_FAILED, message));
        }
    }
}

/// Closes the journal, derives the new state, says how it went.
async fn conclude(engine: &Arc<Engine>) -> RunOutcome {
    if !engine.has_failed() && !engine.is_halted() {
        engine.resolve_leftovers().await;
        // A journal error was reported by the recorder.
        let _ = engine
            .record(vec![JournalEntry::Finished], Durability::Durable)
            .await;
    } else {
        let _ = engine.record(Vec::new(), Durability::Durable).await;
    }
    let snapshot = match replay(&engine.base, &engine.recorder.entries()) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            engine.report(
                Diagnostic::error(codes::program::ENGINE_BUG, "the journal cannot be replayed")
                    .caused_by(&error),
            );
            engine.base.clone()
        }
    };
    if !engine.is_preview()
        && !engine.has_failed()
        && let Err(errors) = integrity::check(&snapshot)
    {
        let mut diagnostic = Diagnostic::error(
            codes::program::ENGINE_BUG,
            "the run left a state that breaks its own rules",
        );
        for error in errors.iter().take(SHOWN_MAX) {
            diagnostic = diagnostic.cause(error.to_string());
        }
        engine.report(diagnostic);
    }
    let (plan, changes) = engine.take_results();
    let outputs = engine.outputs(&snapshot);
    let result = if engine.interrupts.stop.is_cancelled() || engine.interrupts.abort.is_cancelled()
    {
        RunResult::Canceled
    } else if engine.has_failed() {
        RunResult::Failed
    } else {
        RunResult::Succeeded
    };
    let summary = Summary {
        changes,
        duration: engine.clock.monotonic().saturating_sub(engine.started),
        preview: engine.is_preview(),
        result,
    };
    engine.emit(EngineEvent::Summary(summary.clone()));
    RunOutcome {
        summary,
        plan,
        state_changes: engine.recorder.has_changes(),
        outputs,
        snapshot,
    }
}
