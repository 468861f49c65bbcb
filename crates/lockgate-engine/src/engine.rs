//! The state of a run: what was there before, what this run has settled, and the primitives that
//! every phase uses (claiming, journaling, reporting). One lock guards it; it is never held over
//! an await.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockgate_diag::{Code, Diagnostic, Severity, codes};
use lockgate_model::{
    Clock, Digest, EntryId, JournalEntry, PropertyMap, ResourceState, Rng, Snapshot, StepOp, Urn,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::event::{EngineEvent, EventSink, StepEvent};
use crate::journal::Durability;
use crate::pending::Pendings;
use crate::plan::Plan;
use crate::provider::{CallContext, Providers};
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::run::{Interrupts, Operation, Options, RunRequest};
use crate::source::{MonitorError, Source};
use crate::targets::{Scope, Targets};

/// What became of an entry of the old state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing touched it yet.
    Waiting,
    /// It is part of the result, was rewritten, or is gone.
    Settled,
    /// Its replacement exists; it waits for its deletion.
    Displaced,
}

/// An entry that existed before the step that looks at it.
pub(crate) struct OldEntry {
    pub id: EntryId,
    pub state: Arc<ResourceState>,
    pub fate: Fate,
    /// The registration that continues it.
    pub claimed_by: Option<Urn>,
    /// A cascade of deletes works on it; registrations wait for its end.
    pub busy: Option<CancellationToken>,
}

/// A resource that this run has settled.
#[derive(Clone)]
pub(crate) struct Live {
    /// `None` when it was skipped or foretold: the state has no entry.
    pub entry: Option<EntryId>,
    pub state: Arc<ResourceState>,
    /// Providers for children, by package.
    pub providers: BTreeMap<String, String>,
    /// The URN under which it was found in the state, if that differs.
    pub was: Option<Urn>,
    /// It was replaced in this run.
    pub replaced: bool,
    /// Not there yet: a preview only foretold it, or a targeted run skipped it.
    pub pending: bool,
    /// The run may change it.
    pub targeted: bool,
    /// Skipped, because it is new and not a target.
    pub skipped: bool,
}

#[derive(Default)]
pub(crate) struct RunState {
    pub olds: Vec<OldEntry>,
    /// The live old entry of each URN.
    pub by_urn: HashMap<Urn, usize>,
    pub live: HashMap<Urn, Live>,
    /// URNs registered in this run, settled or not.
    pub claimed: HashSet<Urn>,
    pub renames: HashMap<Urn, Urn>,
    /// Registered resources that are targets, with those that count as such because they depend
    /// on one. Kept only if the run asks for dependents.
    pub reached: HashSet<Urn>,
    /// The same of excluded ones.
    pub left_out: HashSet<Urn>,
    pub pendings: Pendings,
    pub plan: Plan,
    pub changes: BTreeMap<&'static str, u64>,
    pub failed: bool,
    /// Outputs of the stack, held until the end.
    pub stack_outputs: Option<PropertyMap>,
}

pub(crate) struct Engine {
    pub operation: Operation,
    pub project: String,
    pub stack: String,
    pub base: Snapshot,
    pub packages: Arc<dyn Providers>,
    pub events: Arc<dyn EventSink>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub interrupts: Interrupts,
    pub options: Options,
    pub scope: Scope,
    pub replace: Targets,
    pub recorder: Recorder,
    pub registry: Registry,
    pub started: Duration,
    /// Bounds provider mutations.
    pub permits: Semaphore,
    /// Set by the first failure (unless the run goes on after errors) and the first interrupt.
    pub halt: CancellationToken,
    /// Registrations under way; each is a task of its own, so that a caller that goes away
    /// does not cut a step in two.
    pub tasks: TaskTracker,
    pub state: Mutex<RunState>,
    next_entry: AtomicU64,
    next_step: AtomicU64,
    seed: [u8; 32],
}

impl Engine {
    pub(crate) fn new(request: RunRequest) -> (Arc<Self>, Option<Box<dyn Source>>) {
        let mut state = RunState::default();
        for (index, entry) in request.base.resources.iter().enumerate() {
            if let (Some(urn), false) = (&entry.urn, entry.delete) {
                state.by_urn.insert(urn.clone(), index);
            }
            state.olds.push(OldEntry {
                id: EntryId(index as u64),
                state: Arc::clone(entry),
                fate: Fate::Waiting,
                claimed_by: None,
                busy: None,
            });
        }
        state.pendings = Pendings::new(&request.base.pending);
        let mut seed = [0; 32];
        request.rng.fill(&mut seed);
        let journal = request
            .journal
            .filter(|_| request.operation != Operation::Preview);
        let engine = Self {
            operation: request.operation,
            project: request.project,
            stack: request.stack,
            next_entry: AtomicU64::new(request.base.resources.len() as u64),
            next_step: AtomicU64::new(0),
            base: request.base,
            packages: request.providers,
            events: request.events,
            started: request.clock.monotonic(),
            clock: request.clock,
            rng: request.rng,
            scope: Scope {
                targets: Targets::new(&request.options.targets),
                excludes: Targets::new(&request.options.excludes),
            },
            replace: Targets::new(&request.options.replace),
            permits: Semaphore::new(request.options.parallel.clamp(1, Semaphore::MAX_PERMITS)),
            halt: request.interrupts.stop.child_token(),
            interrupts: request.interrupts,
            options: request.options,
            recorder: Recorder::new(journal),
            registry: Registry::default(),
            tasks: TaskTracker::new(),
            state: Mutex::new(state),
            seed,
        };
        (Arc::new(engine), request.source)
    }

    pub(crate) fn is_preview(&self) -> bool {
        !self.recorder.is_recording()
    }

    pub(crate) fn stack_urn(&self) -> Urn {
        let name = format!("{}-{}", self.project, self.stack);
        Urn::new(
            &self.stack,
            &self.project,
            None,
            lockgate_model::urn::STACK_TYPE,
            &name,
        )
    }

    pub(crate) fn call_context(&self, urn: &Urn) -> CallContext {
        CallContext {
            urn: urn.clone(),
            cancel: self.interrupts.abort.clone(),
            events: Arc::clone(&self.events),
            preview: self.is_preview(),
        }
    }

    /// Whether a new step may start.
    pub(crate) fn go(&self) -> Result<(), MonitorError> {
        if self.is_halted() {
            Err(MonitorError::Stopped)
        } else {
            Ok(())
        }
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halt.is_cancelled()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().failed
    }

    /// Waits for every registration that is under way.
    pub(crate) async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn emit(&self, event: EngineEvent) {
        self.events.emit(event);
    }

    pub(crate) fn say(&self, severity: Severity, urn: Option<&Urn>, text: impl Into<String>) {
        self.emit(EngineEvent::Message {
            severity,
            urn: urn.cloned(),
            text: text.into(),
            ephemeral: false,
        });
    }

    /// Marks the run as failed; without continue-on-error no new step starts.
    pub(crate) fn fail_run(&self) {
        self.state.lock().failed = true;
        if !self.options.continue_on_error && !self.is_preview() {
            self.halt.cancel();
        }
    }

    /// Reports a failure that no step stands for.
    pub(crate) fn report(&self, diagnostic: Diagnostic) -> MonitorError {
        let message = diagnostic.message.clone();
        if diagnostic.is_error() {
            self.fail_run();
        }
        self.emit(EngineEvent::Diagnostic(Box::new(diagnostic)));
        MonitorError::Failed(message)
    }

    pub(crate) fn report_error(&self, code: Code, message: impl Into<String>) -> MonitorError {
        self.report(Diagnostic::error(code, message))
    }

    /// Appends to the journal. An error stops the run.
    pub(crate) async fn record(
        &self,
        entries: Vec<JournalEntry>,
        durability: Durability,
    ) -> Result<(), MonitorError> {
        match self.recorder.append(entries, durability).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.halt.cancel();
                self.report(
                    Diagnostic::error(
                        codes::program::JOURNAL_FAILED,
                        "a step could not be written to the journal of the stack",
                    )
                    .caused_by(&error),
                );
                Err(MonitorError::Stopped)
            }
        }
    }

    pub(crate) fn next_entry(&self) -> EntryId {
        EntryId(self.next_entry.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn next_step(&self) -> u64 {
        self.next_step.fetch_add(1, Ordering::Relaxed)
    }

    /// A key that no other operation has.
    pub(crate) fn new_key(&self) -> String {
        format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64())
    }

    /// The seed for generated names: of the bound plan, else derived from this run's.
    pub(crate) fn name_seed(&self, urn: &Urn) -> [u8; 32] {
        let planned = self
            .options
            .constraint
            .as_ref()
            .and_then(|plan| plan.resources.get(urn)?.seed);
        planned.unwrap_or_else(|| {
            let mut text = self.seed.to_vec();
            text.extend_from_slice(urn.as_str().as_bytes());
            *Digest::of(&text).as_bytes()
        })
    }

    /// Notes a decision; refuses it when a bound plan or `expect_no_changes` forbids it.
    pub(crate) fn decide(
        &self,
        urn: &Urn,
        op: StepOp,
        inputs: &PropertyMap,
    ) -> Result<(), Diagnostic> {
        let effect_free = matches!(op, StepOp::Same | StepOp::Read | StepOp::Refresh);
        let mut state = self.state.lock();
        if !effect_free {
            let seed = self.name_seed(urn);
            state.plan.record(urn, op, inputs);
            if let Some(planned) = state.plan.resources.get_mut(urn) {
                planned.seed = Some(seed);
            }
        }
        if self.options.expect_no_changes && !effect_free {
            return Err(Diagnostic::error(
                codes::program::CHANGES_FOUND,
                format!("expected no changes, but `{urn}` needs {}", op.as_str()),
            ));
        }
        // What an interrupted run left behind is finished even if no preview could foretell it.
        if state.pendings.concerns(urn) {
            return Ok(());
        }
        let Some(plan) = self.options.constraint.as_ref() else {
            return Ok(());
        };
        plan.permits(urn, op, inputs).map_err(|violation| {
            Diagnostic::error(
                codes::program::OUTSIDE_PLAN,
                format!("`{urn}` is not changed as the preview showed"),
            )
            .caused_by(&violation)
            .hint("run `lockgate up` again to see a new preview")
        })
    }

    /// Tells and counts the end of a step. Default providers are housekeeping: not shown.
    pub(crate) fn step_done(&self, event: StepEvent) {
        if crate::registry::is_default_provider(&event.urn) {
            return;
        }
        let mut state = self.state.lock();
        *state.changes.entry(event.op.as_str()).or_default() += 1;
        drop(state);
        self.emit(EngineEvent::StepDone(Box::new(event)));
    }

    pub(crate) fn step_start(&self, event: &StepEvent) {
        if !crate::registry::is_default_provider(&event.urn) {
            self.emit(EngineEvent::StepStart(Box::new(event.clone())));
        }
    }

    /// Tells that a step failed, and fails the run.
    pub(crate) fn step_failed(&self, step: StepEvent, diagnostic: Diagnostic) -> MonitorError {
        let message = diagnostic.message.clone();
        self.fail_run();
        self.emit(EngineEvent::StepFailed {
            step: Box::new(step),
            diagnostic: Box::new(diagnostic),
        });
        MonitorError::Failed(message)
    }

    /// The old entry at `index`.
    pub(crate) fn old(&self, index: usize) -> (EntryId, Arc<ResourceState>) {
        let state = self.state.lock();
        let entry = &state.olds[index];
        (entry.id, Arc::clone(&entry.state))
    }

    pub(crate) fn set_fate(&self, index: usize, fate: Fate) {
        self.state.lock().olds[index].fate = fate;
    }

    /// Adds an entry made in this run that a later step of the same run treats as old.
    pub(crate) fn push_old(&self, id: EntryId, state: Arc<ResourceState>, fate: Fate) -> usize {
        let mut run = self.state.lock();
        let claimed_by = state.urn.clone();
        run.olds.push(OldEntry {
            id,
            state,
            fate,
            claimed_by,
            busy: None,
        });
        run.olds.len() - 1
    }

    pub(crate) fn find_live(&self, urn: &Urn) -> Option<Live> {
        self.state.lock().live.get(urn).cloned()
    }

    /// What was decided, and how many steps of each kind were done.
    pub(crate) fn take_results(&self) -> (Plan, BTreeMap<&'static str, u64>) {
        let mut state = self.state.lock();
        let plan = std::mem::take(&mut state.plan);
        (plan, std::mem::take(&mut state.changes))
    }

    /// The outputs of the stack: as this run has them, else as `snapshot` does.
    pub(crate) fn outputs(&self, snapshot: &Snapshot) -> PropertyMap {
        let root = self.stack_urn();
        if let Some(live) = self.find_live(&root) {
            return live.state.outputs.clone();
        }
        let entries = snapshot.resources.iter();
        let mut roots = entries.filter(|entry| entry.urn.as_ref() == Some(&root));
        roots
            .next()
            .map(|root| root.outputs.clone())
            .unwrap_or_default()
    }
}
