//! What a run decided, per resource; a later run can be bound to it.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::{Digest, PropertyMap, StepOp, Urn};

/// The decisions of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By URN.
    pub resources: BTreeMap<Urn, PlannedResource>,
}

/// What was decided for one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedResource {
    /// Its steps, in order of decision.
    pub ops: Vec<StepOp>,
    /// Checked inputs of a change: a digest for each known property, `None` for one that was not
    /// known yet. Secrets count by presence, never by value.
    pub inputs: BTreeMap<String, Option<Digest>>,
    /// The seed its provider was given for generated names; a bound run gives the same.
    pub seed: Option<[u8; 32]>,
}

/// Why a step is outside a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanViolation {
    /// The kind of step was not shown.
    #[error("the preview did not contain {}", .0.as_str())]
    Operation(StepOp),
    /// Properties differ from what was shown.
    #[error("the preview showed other values for {}", .0.iter().cloned().collect::<Vec<_>>().join(", "))]
    Inputs(BTreeSet<String>),
}

impl Plan {
    /// Whether the plan contains this step. Steps without effects always may happen.
    pub fn permits(
        &self,
        urn: &Urn,
        op: StepOp,
        inputs: &PropertyMap,
    ) -> Result<(), PlanViolation> {
        let effect_free = matches!(op, StepOp::Same | StepOp::Read | StepOp::Refresh);
        let Some(planned) = self.resources.get(urn) else {
            return if effect_free {
                Ok(())
            } else {
                Err(PlanViolation::Operation(op))
            };
        };
        if effect_free {
            return Ok(());
        }
        if !planned.ops.contains(&op) {
            return Err(PlanViolation::Operation(op));
        }
        if planned.inputs.is_empty() || !takes_inputs(op) {
            return Ok(());
        }
        let actual = digest_inputs(inputs);
        let differs = |name: &&String| match planned.inputs.get(*name) {
            Some(None) => false,
            Some(Some(digest)) => actual.get(*name) != Some(&Some(*digest)),
            None => true,
        };
        let names: BTreeSet<String> = planned
            .inputs
            .keys()
            .chain(actual.keys())
            .filter(differs)
            .cloned()
            .collect();
        if names.is_empty() {
            Ok(())
        } else {
            Err(PlanViolation::Inputs(names))
        }
    }

    pub(crate) fn record(&mut self, urn: &Urn, op: StepOp, inputs: &PropertyMap) {
        let planned = self.resources.entry(urn.clone()).or_default();
        if !planned.ops.contains(&op) {
            planned.ops.push(op);
        }
        if takes_inputs(op) {
            planned.inputs = digest_inputs(inputs);
        }
    }
}

/// Whether the step sends inputs to a provider.
fn takes_inputs(op: StepOp) -> bool {
    matches!(
        op,
        StepOp::Create | StepOp::CreateReplacement | StepOp::Update
    )
}

fn digest_inputs(inputs: &PropertyMap) -> BTreeMap<String, Option<Digest>> {
    inputs
        .iter()
        .map(|(name, value)| {
            let known = !value.contains_unknown();
            // `Debug` of a value is stable and masks secrets.
            let digest = known.then(|| Digest::of(format!("{value:?}").as_bytes()));
            (name.clone(), digest)
        })
        .collect()
}
