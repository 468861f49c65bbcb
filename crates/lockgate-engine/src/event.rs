//! What the engine tells while it works. Displays, event logs and tests read the same events.

use std::collections::BTreeMap;
use std::time::Duration;

use lockgate_diag::{Diagnostic, Severity};
use lockgate_model::{PropertyMap, StepOp, Urn};

use crate::provider::PropertyDiff;

/// One event. Values may hold secrets; displays mask them (`Value`'s own formatting does).
#[derive(Clone, Debug)]
pub enum EngineEvent {
    /// The run starts; the stack config in clear, secrets wrapped.
    Prelude {
        /// Config by full key.
        config: BTreeMap<String, lockgate_model::Value>,
    },
    /// A step was decided and, outside previews, begins.
    StepStart(Box<StepEvent>),
    /// A step ended well; `new` holds its outputs. A `same` has only this event, and only `new`,
    /// since both sides are equal. Default providers have none.
    StepDone(Box<StepEvent>),
    /// A step failed.
    StepFailed {
        /// The step.
        step: Box<StepEvent>,
        /// Why, with next steps.
        diagnostic: Box<Diagnostic>,
    },
    /// Something to say, about a resource or in general.
    Message {
        /// How bad.
        severity: Severity,
        /// About which resource.
        urn: Option<Urn>,
        /// Words, may have several lines.
        text: String,
        /// Progress that need not stay on the screen.
        ephemeral: bool,
    },
    /// A diagnostic with a place.
    Diagnostic(Box<Diagnostic>),
    /// The run ended.
    Summary(Summary),
}

/// A step, as shown.
#[derive(Clone, Debug)]
pub struct StepEvent {
    /// What it does.
    pub op: StepOp,
    /// To which resource.
    pub urn: Urn,
    /// Id before or after.
    pub id: String,
    /// Its provider call is left out (a component, or a logical step).
    pub logical: bool,
    /// Old side, if any.
    pub old: Option<StepState>,
    /// New side, if any.
    pub new: Option<StepState>,
    /// Properties that force a replacement.
    pub replace_keys: Vec<String>,
    /// Properties that differ.
    pub diff_keys: Vec<String>,
    /// Each difference; `None` when the provider could not say.
    pub detailed_diff: Option<BTreeMap<String, PropertyDiff>>,
    /// How long it took; set when done.
    pub duration: Option<Duration>,
}

/// One side of a step.
#[derive(Clone, Debug, Default)]
pub struct StepState {
    /// Parent.
    pub parent: Option<Urn>,
    /// Inputs.
    pub inputs: PropertyMap,
    /// Outputs; empty on the new side until done.
    pub outputs: PropertyMap,
    /// Protected.
    pub protect: bool,
    /// Properties left out of displays.
    pub hide_diffs: Vec<String>,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Steps by kind.
    pub changes: BTreeMap<&'static str, u64>,
    /// How long it took.
    pub duration: Duration,
    /// No effects were made.
    pub preview: bool,
    /// Its end.
    pub result: RunResult,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunResult {
    /// Well.
    #[default]
    Succeeded,
    /// A step or the program failed.
    Failed,
    /// It was interrupted.
    Canceled,
}

/// Takes events in order. Must not block: a slow display drops ephemeral ones.
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: EngineEvent);
}
