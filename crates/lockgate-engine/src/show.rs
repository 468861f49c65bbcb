//! Steps as events.

use lockgate_model::{ResourceState, StepOp, Urn};

use crate::decide::Verdict;
use crate::event::{StepEvent, StepState};
use crate::goal::Goal;

/// An event for a step about `urn`.
pub(crate) fn step(
    op: StepOp,
    urn: &Urn,
    old: Option<&ResourceState>,
    new: Option<&ResourceState>,
) -> StepEvent {
    let id = new
        .filter(|state| !state.id.is_empty())
        .or(old)
        .map(|state| state.id.clone())
        .unwrap_or_default();
    StepEvent {
        op,
        urn: urn.clone(),
        id,
        logical: new.or(old).is_some_and(|state| !state.custom) || op == StepOp::Replace,
        old: old.map(side),
        new: new.map(side),
        replace_keys: Vec::new(),
        diff_keys: Vec::new(),
        detailed_diff: None,
        duration: None,
    }
}

/// An event for a step that leads to a goal.
pub(crate) fn goal_step(
    op: StepOp,
    goal: &Goal,
    old: Option<&ResourceState>,
    new: Option<&ResourceState>,
) -> StepEvent {
    let mut event = step(op, &goal.urn, old, new);
    for side in event.old.iter_mut().chain(&mut event.new) {
        side.hide_diffs.clone_from(&goal.options.hide_diffs);
    }
    event
}

/// The same with what the comparison found.
pub(crate) fn step_with(mut event: StepEvent, verdict: &Verdict) -> StepEvent {
    event.replace_keys.clone_from(&verdict.replaces);
    event.diff_keys.clone_from(&verdict.keys);
    event.detailed_diff.clone_from(&verdict.detailed);
    event
}

fn side(state: &ResourceState) -> StepState {
    StepState {
        parent: state.parent.clone(),
        inputs: state.inputs.clone(),
        outputs: state.outputs.clone(),
        protect: state.protect,
        hide_diffs: Vec::new(),
    }
}
