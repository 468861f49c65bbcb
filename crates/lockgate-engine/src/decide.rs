//! Decides what a resource with an old entry needs (engine guide, section 11.2).

use std::collections::{BTreeMap, BTreeSet};

use lockgate_diag::{Diagnostic, Severity, codes};
use lockgate_model::{PropertyMap, ResourceState, Urn};

use crate::diff;
use crate::engine::Engine;
use crate::exec::provider_diagnostic;
use crate::goal::Goal;
use crate::path::{self, PropertyPath};
use crate::pending::Interrupted;
use crate::provider::{
    CheckFailure, CheckRequest, DiffChanges, DiffKind, DiffRequest, DiffResponse, PropertyDiff,
    ProviderError,
};
use crate::registry::{ProviderHandle, with_hints};
use crate::source::MonitorError;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// Anything differs.
    pub changed: bool,
    /// Why it must be replaced; empty means it need not.
    pub replaces: Vec<String>,
    /// The old one must go first.
    pub delete_first: bool,
    /// Top-level properties that differ.
    pub keys: Vec<String>,
    /// Each difference.
    pub detailed: Option<BTreeMap<String, PropertyDiff>>,
}

impl Engine {
    /// Copies old values back at the paths of `ignoreChanges`.
    pub(crate) fn ignore_changes(
        &self,
        goal: &Goal,
        old: Option<&ResourceState>,
        inputs: &mut PropertyMap,
    ) {
        let Some(old) = old else { return };
        for text in &goal.options.ignore_changes {
            let Ok(parsed) = PropertyPath::parse(text) else {
                continue;
            };
            if !path::reset(&parsed, &old.inputs, inputs) {
                self.say(
                    Severity::Info,
                    Some(&goal.urn),
                    format!("ignoreChanges has no effect on `{text}`: the shapes differ"),
                );
            }
        }
    }

    /// Checks inputs with the provider. Failures are told property by property.
    pub(crate) async fn check_inputs(
        &self,
        goal: &Goal,
        handle: &ProviderHandle,
        inputs: PropertyMap,
        old_inputs: Option<PropertyMap>,
    ) -> Result<PropertyMap, MonitorError> {
        let ProviderHandle::Ready(provider) = handle else {
            return Ok(inputs);
        };
        let request = CheckRequest {
            old_inputs,
            inputs,
            random_seed: self.name_seed(&goal.urn),
        };
        let response = provider
            .check(&self.call_context(&goal.urn), request)
            .await
            .map_err(|error| self.report(unchecked(goal, &error)))?;
        let mut last = None;
        for failure in response.failures {
            last = Some(self.report(refusal(goal, &failure)));
        }
        match last {
            Some(error) => Err(error),
            None => Ok(response.inputs),
        }
    }

    /// Compares a goal with its old entry.
    pub(crate) async fn verdict(
        &self,
        goal: &Goal,
        handle: &ProviderHandle,
        old: &ResourceState,
        inputs: &PropertyMap,
    ) -> Result<Verdict, MonitorError> {
        if let Some(reason) = self.forced_replacement(goal, old)? {
            let detailed = diff::compare(&old.inputs, inputs);
            return Ok(Verdict {
                changed: true,
                replaces: vec![reason.to_owned()],
                keys: top_level(&detailed),
                detailed: Some(detailed),
                delete_first: false,
            });
        }
        let interrupted = self.interrupted(old);
        if interrupted == Some(Interrupted::Delete) {
            return Ok(Verdict {
                changed: true,
                replaces: vec!["id".to_owned()],
                delete_first: true,
                ..Verdict::default()
            });
        }
        let response = self.compare(&goal.urn, handle, old, inputs, goal).await?;
        let mut verdict = weigh(response, old, inputs, &goal.options.replace_on_changes);
        // An update that may have happened is done again even when nothing seems to differ.
        verdict.changed |= interrupted.is_some() || !old.init_errors.is_empty();
        Ok(verdict)
    }

    /// A reason to replace that no comparison of properties can outweigh.
    fn forced_replacement(
        &self,
        goal: &Goal,
        old: &ResourceState,
    ) -> Result<Option<&'static str>, MonitorError> {
        let trigger = goal.options.replacement_trigger.as_ref();
        if !self.is_preview() && trigger.is_some_and(lockgate_model::Value::contains_unknown) {
            return Err(self.report(Diagnostic::error(
                codes::program::UNKNOWN_VALUE,
                format!("the replacement trigger of `{}` is still unknown", goal.urn),
            )));
        }
        if goal.trigger_changed(old) {
            return Ok(Some("replacementTrigger"));
        }
        if self.replace.matches(&goal.urn) || old.taint {
            return Ok(Some("id"));
        }
        let was_replaced = |urn: &Urn| self.find_live(urn).is_some_and(|live| live.replaced);
        if goal.options.replace_with.iter().any(was_replaced) {
            return Ok(Some("replaceWith"));
        }
        if goal.options.deleted_with.as_ref().is_some_and(was_replaced) {
            return Ok(Some("deletedWith"));
        }
        if old.custom != goal.custom || self.provider_change_replaces(&old.provider, &goal.provider)
        {
            return Ok(Some("provider"));
        }
        Ok(None)
    }

    async fn compare(
        &self,
        urn: &Urn,
        handle: &ProviderHandle,
        old: &ResourceState,
        inputs: &PropertyMap,
        goal: &Goal,
    ) -> Result<DiffResponse, MonitorError> {
        let ProviderHandle::Ready(provider) = handle else {
            return Ok(DiffResponse::default());
        };
        let request = DiffRequest {
            id: old.id.clone(),
            old_inputs: old.inputs.clone(),
            old_outputs: old.outputs.clone(),
            inputs: inputs.clone(),
            ignore_changes: goal.options.ignore_changes.clone(),
        };
        match provider.diff(&self.call_context(urn), request).await {
            Ok(response) => Ok(response),
            Err(ProviderError::Unsupported(_)) => Ok(DiffResponse::default()),
            Err(error) => Err(self.report(provider_diagnostic("compare", urn, &error))),
        }
    }
}

/// Why properties could not be checked. A type that is not there is the program's mistake.
fn unchecked(goal: &Goal, error: &ProviderError) -> Diagnostic {
    if !matches!(error, ProviderError::UnknownType { .. }) {
        return provider_diagnostic("check", &goal.urn, error);
    }
    let text = format!("resource `{}`: {error}", goal.urn.name());
    let diagnostic = Diagnostic::error(codes::program::UNKNOWN_TYPE, text);
    goal.options.place(with_hints(diagnostic, error), "")
}

/// What a provider refused, at its place in the program.
fn refusal(goal: &Goal, failure: &CheckFailure) -> Diagnostic {
    let (subject, wrong) = match failure.property.as_str() {
        "" => (
            format!("`{}`", goal.urn),
            format!("the properties of `{}`", goal.urn.name()),
        ),
        property => (
            format!("property `{property}` of `{}`", goal.urn),
            format!("`{property}`"),
        ),
    };
    let text = format!("{subject}: {}", failure.reason);
    let diagnostic = Diagnostic::error(codes::program::CHECK_FAILED, text);
    let placed = goal.options.place(diagnostic, &failure.property);
    let hint = if placed.labels.is_empty() {
        let name = goal.urn.name();
        format!("correct {wrong} where the program declares `{name}`")
    } else {
        format!("correct {wrong} at the marked place")
    };
    placed.hint(hint)
}

/// Turns a provider's answer into a verdict: what it left open is compared here, and
/// `replaceOnChanges` is applied. Pure.
pub(crate) fn weigh(
    response: DiffResponse,
    old: &ResourceState,
    inputs: &PropertyMap,
    replace_on_changes: &[String],
) -> Verdict {
    let structural = || diff::compare(&old.inputs, inputs);
    let (changed, mut detailed) = match response.changes {
        DiffChanges::None => (false, BTreeMap::new()),
        DiffChanges::Some => (true, response.detailed.unwrap_or_else(structural)),
        DiffChanges::Unknown => {
            let found = response.detailed.unwrap_or_else(structural);
            (!found.is_empty(), found)
        }
    };
    let mut replaces = response.replaces;
    if changed {
        // The provider's own keys show as replacing ones in the details.
        diff::mark_replaces(&mut detailed, &replaces);
        replaces.extend(diff::mark_replaces(&mut detailed, replace_on_changes));
        let by_kind = detailed.iter().filter(|(_, diff)| {
            matches!(
                diff.kind,
                DiffKind::AddReplace | DiffKind::DeleteReplace | DiffKind::UpdateReplace
            )
        });
        if replaces.is_empty() {
            replaces.extend(by_kind.map(|(path, _)| path.clone()));
        }
    }
    let unique: BTreeSet<String> = replaces.into_iter().collect();
    Verdict {
        changed: changed || !unique.is_empty(),
        replaces: unique.into_iter().collect(),
        delete_first: response.delete_before_replace,
        keys: top_level(&detailed),
        detailed: Some(detailed),
    }
}

fn top_level(detailed: &BTreeMap<String, PropertyDiff>) -> Vec<String> {
    let keys: BTreeSet<&str> = detailed
        .keys()
        .map(|path| path.split(['.', '[']).next().unwrap_or(path))
        .collect();
    keys.into_iter().map(str::to_owned).collect()
}
