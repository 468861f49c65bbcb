//! Delete before replace: what depends on the old resource and cannot live without it goes
//! first, in reverse order of dependency (engine guide, section 11.3).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use lockgate_diag::{Diagnostic, codes};
use lockgate_model::{EntryId, PropertyMap, ResourceState, StepOp, Urn, Value};
use tokio_util::sync::CancellationToken;

use crate::decide::weigh;
use crate::engine::{Engine, Fate, RunState};
use crate::exec::is_placeholder;
use crate::goal::Goal;
use crate::integrity::references;
use crate::provider::DiffRequest;
use crate::registry::ProviderHandle;
use crate::show;
use crate::source::MonitorError;

/// Holds the old entries of a cascade until it is over, however it ends.
struct Hold<'a> {
    engine: &'a Engine,
    over: CancellationToken,
    indices: Vec<usize>,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut state = self.engine.state.lock();
        for index in &self.indices {
            state.olds[*index].busy = None;
        }
        drop(state);
        self.over.cancel();
    }
}

impl Engine {
    /// Deletes an old resource ahead of its replacement, its dependents before it. The entry that
    /// stands for it until the replacement exists.
    pub(crate) async fn delete_before(
        &self,
        goal: &Goal,
        index: usize,
    ) -> Result<EntryId, MonitorError> {
        let (_, root) = self.old(index);
        let hold = self.hold_dependents(index);
        let doomed = self.choose_dependents(&root, &hold.indices).await?;
        for dependent in &doomed {
            let (_, old) = self.old(*dependent);
            if old.protect {
                let event = show::step(StepOp::DeleteReplaced, &urn_of(&old), Some(&old), None);
                let diagnostic = Diagnostic::error(
                    codes::program::PROTECTED,
                    format!(
                        "`{}` must be deleted before `{}` is replaced, but is protected",
                        old.urn_str(),
                        goal.urn
                    ),
                )
                .hint("remove `protect` from the dependent resource and run `lockgate up` first");
                return Err(self.step_failed(event, diagnostic));
            }
        }
        for dependent in doomed.iter().rev() {
            let urn = urn_of(&self.old(*dependent).1);
            self.delete_to_placeholder(*dependent, &urn).await?;
        }
        self.delete_to_placeholder(index, &goal.urn).await
    }

    /// Marks every entry that depends on `root`, directly or not, and that no registration has
    /// claimed yet. Old entries come in order of dependency, so one pass finds them all.
    fn hold_dependents(&self, root: usize) -> Hold<'_> {
        let over = CancellationToken::new();
        let mut indices = Vec::new();
        let mut state = self.state.lock();
        let mut affected: HashSet<Urn> = state.olds[root].state.urn.clone().into_iter().collect();
        for index in 0..state.olds.len() {
            if index == root || !is_free(&state, index) {
                continue;
            }
            let entry = &state.olds[index].state;
            let depends =
                references(entry).any(|(urn, role)| role != "parent" && affected.contains(&urn));
            if depends {
                affected.extend(entry.urn.clone());
                indices.push(index);
            }
        }
        for index in &indices {
            state.olds[*index].busy = Some(over.clone());
        }
        Hold {
            engine: self,
            over,
            indices,
        }
    }

    /// Of the held dependents those that must go, in order of dependency.
    async fn choose_dependents(
        &self,
        root: &ResourceState,
        held: &[usize],
    ) -> Result<Vec<usize>, MonitorError> {
        let mut gone: BTreeSet<Urn> = root.urn.clone().into_iter().collect();
        let mut doomed = Vec::new();
        for index in held {
            let (_, old) = self.old(*index);
            if !old.custom || is_placeholder(&old) {
                continue;
            }
            let must = references(&old).any(|(urn, role)| {
                matches!(role, "provider" | "deletedWith") && gone.contains(&urn)
            }) || old.replace_with.iter().any(|urn| gone.contains(urn))
                || self.needs_replacement(&old, &gone).await?;
            if must {
                gone.extend(old.urn.clone());
                doomed.push(*index);
            }
        }
        Ok(doomed)
    }

    /// Whether a dependent would be replaced, were the properties it takes from `gone` to change.
    async fn needs_replacement(
        &self,
        old: &ResourceState,
        gone: &BTreeSet<Urn>,
    ) -> Result<bool, MonitorError> {
        let inputs = substitute(old, gone);
        if inputs == old.inputs {
            return Ok(false);
        }
        let urn = urn_of(old);
        let ProviderHandle::Ready(provider) = self.handle(&old.provider, Some(&urn)).await? else {
            return Ok(false);
        };
        let request = DiffRequest {
            id: old.id.clone(),
            old_inputs: old.inputs.clone(),
            old_outputs: old.outputs.clone(),
            inputs: inputs.clone(),
            ignore_changes: old.ignore_changes.clone(),
        };
        // A provider that cannot compare unknowns does not get its resources deleted for it.
        let response = provider
            .diff(&self.call_context(&urn), request)
            .await
            .unwrap_or_default();
        Ok(!weigh(response, old, &inputs, &old.replace_on_changes)
            .replaces
            .is_empty())
    }

    /// Deletes an old resource and leaves an entry that says its replacement is on the way.
    async fn delete_to_placeholder(
        &self,
        index: usize,
        urn: &Urn,
    ) -> Result<EntryId, MonitorError> {
        let (id, old) = self.old(index);
        let mut event = show::step(StepOp::DeleteReplaced, urn, Some(&old), None);
        if let Err(diagnostic) = self.decide(urn, StepOp::DeleteReplaced, &PropertyMap::new()) {
            return Err(self.step_failed(event, diagnostic));
        }
        self.step_start(&event);
        let started = self.clock.monotonic();
        let mut placeholder = (*old).clone();
        placeholder.urn = Some(urn.clone());
        placeholder.pending_replacement = true;
        placeholder.protect = false;
        let entry = self.next_entry();
        let skip_call = self.is_preview() || old.retain_on_delete || !old.custom;
        if skip_call {
            self.write_entry(vec![id], Some((entry, Arc::new(placeholder.clone()))))
                .await?;
        } else {
            let ProviderHandle::Ready(provider) = self.handle(&old.provider, Some(urn)).await?
            else {
                return Err(self.report_error(
                    codes::program::PROVIDER_MISSING,
                    format!("`{urn}` cannot be deleted: its provider has unknown settings"),
                ));
            };
            let leave = Some((entry, placeholder.clone()));
            if let Err(diagnostic) = self.delete_remote(&*provider, id, &old, leave).await? {
                return Err(self.step_failed(event, diagnostic));
            }
        }
        {
            let mut run = self.state.lock();
            run.olds[index].id = entry;
            run.olds[index].state = Arc::new(placeholder);
        }
        event.duration = Some(self.clock.monotonic().saturating_sub(started));
        self.step_done(event);
        Ok(entry)
    }
}

fn is_free(state: &RunState, index: usize) -> bool {
    let entry = &state.olds[index];
    entry.fate == Fate::Waiting
        && entry.claimed_by.is_none()
        && entry.busy.is_none()
        && !entry.state.delete
}

fn urn_of(state: &ResourceState) -> Urn {
    // Entries without a URN do not pass the integrity check that every run starts with.
    state
        .urn
        .clone()
        .unwrap_or_else(|| Urn::new("", "", None, "", ""))
}

/// Old inputs, unknown where they come from resources that are gone.
fn substitute(old: &ResourceState, gone: &BTreeSet<Urn>) -> PropertyMap {
    let hit = |urns: &Vec<Urn>| urns.iter().any(|urn| gone.contains(urn));
    let by_property: &BTreeMap<String, Vec<Urn>> = &old.property_dependencies;
    let all = by_property.is_empty() && hit(&old.dependencies);
    old.inputs
        .iter()
        .map(|(name, value)| {
            let changed = all || by_property.get(name).is_some_and(hit);
            let value = if changed {
                Value::Unknown
            } else {
                value.clone()
            };
            (name.clone(), value)
        })
        .collect()
}
