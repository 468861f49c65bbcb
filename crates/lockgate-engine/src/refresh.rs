//! Refresh: reads every managed resource back and takes what it finds into the state.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use lockgate_diag::{Diagnostic, codes};
use lockgate_model::{EntryId, ResourceState, StepOp, Urn};

use crate::diff;
use crate::engine::{Engine, Fate};
use crate::event::EngineEvent;
use crate::exec::mark_secrets;
use crate::provider::{ProviderError, ReadRequest, ReadResponse};
use crate::references;
use crate::registry::ProviderHandle;
use crate::show;
use crate::source::MonitorError;

/// What reading one entry found.
enum Found {
    /// It is there, perhaps changed.
    Present(Box<ResourceState>),
    /// It is gone.
    Gone,
}

impl Engine {
    /// Reads everything back. Failures are reported; what could not be read stays as it was.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        let wanted: Vec<(usize, Urn, Arc<ResourceState>)> = {
            let state = self.state.lock();
            let entries = state.olds.iter().enumerate();
            entries
                .filter(|(_, entry)| entry.fate != Fate::Settled && is_readable(&entry.state))
                .filter_map(|(index, entry)| {
                    let urn = entry.state.urn.clone()?;
                    let chosen = self.scope.contains(&urn);
                    chosen.then(|| (index, urn, Arc::clone(&entry.state)))
                })
                .collect()
        };
        // Reads run in parallel and are taken in the order of the state, so that a run is told
        // the same way every time.
        let reads = wanted.into_iter().map(|(index, urn, old)| async move {
            let read = self.refresh_one(&urn, &old).await;
            (index, urn, old, read)
        });
        let mut reads = futures_util::stream::iter(reads).buffered(self.options.parallel.max(1));
        let mut found: HashMap<usize, Found> = HashMap::new();
        while let Some((index, urn, old, read)) = reads.next().await {
            let Ok(read) = read else { continue };
            self.tell_refresh(&urn, &old, &read);
            found.insert(index, read);
        }
        // A journal error was reported by the recorder.
        let _ = self.take_found(found).await;
    }

    async fn refresh_one(
        self: &Arc<Self>,
        urn: &Urn,
        old: &ResourceState,
    ) -> Result<Found, MonitorError> {
        self.go()?;
        let handle = self.handle(&old.provider, Some(urn)).await?;
        let ProviderHandle::Ready(provider) = handle else {
            return Ok(Found::Present(Box::new(old.clone())));
        };
        let request = ReadRequest {
            id: old.id.clone(),
            inputs: old.inputs.clone(),
            outputs: old.outputs.clone(),
        };
        match provider.read(&self.call_context(urn), request).await {
            Ok(Some(read)) if !read.id.is_empty() => {
                Ok(Found::Present(Box::new(self.merge(old, read))))
            }
            Ok(_) => Ok(Found::Gone),
            Err(ProviderError::Unsupported(_)) => Ok(Found::Present(Box::new(old.clone()))),
            Err(ProviderError::Partial {
                id,
                outputs,
                reasons,
            }) => {
                let read = ReadResponse {
                    id,
                    inputs: None,
                    outputs,
                };
                let mut state = self.merge(old, read);
                let warning = Diagnostic::warning(
                    codes::program::INIT_FAILED,
                    format!("`{urn}` exists but is not in order"),
                );
                let warning = reasons.iter().fold(warning, Diagnostic::cause);
                self.emit(EngineEvent::Diagnostic(Box::new(warning)));
                state.init_errors = reasons;
                Ok(Found::Present(Box::new(state)))
            }
            Err(error) => Err(self.report(
                Diagnostic::error(
                    codes::program::READ_FAILED,
                    format!("`{urn}` could not be read"),
                )
                .caused_by(&error),
            )),
        }
    }

    fn merge(&self, old: &ResourceState, read: ReadResponse) -> ResourceState {
        let mut state = old.clone();
        state.id = read.id;
        state.init_errors = Vec::new();
        if let Some(mut inputs) = read.inputs.filter(|_| !old.external) {
            for (name, value) in &mut inputs {
                let was_secret = old
                    .inputs
                    .get(name)
                    .is_some_and(lockgate_model::Value::contains_secret);
                if was_secret {
                    *value = std::mem::take(value).into_secret();
                }
            }
            state.inputs = inputs;
        }
        state.outputs = read.outputs;
        mark_secrets(&mut state);
        let same = diff::same_maps(&old.inputs, &state.inputs)
            && diff::same_maps(&old.outputs, &state.outputs)
            && old.id == state.id
            && old.init_errors == state.init_errors;
        if same {
            return old.clone();
        }
        state.modified = Some(self.clock.now());
        state
    }

    fn tell_refresh(&self, urn: &Urn, old: &ResourceState, found: &Found) {
        let (op, new) = match found {
            Found::Present(new) if **new == *old => (StepOp::Same, &**new),
            Found::Present(new) => (StepOp::Refresh, &**new),
            Found::Gone => {
                let event = show::step(StepOp::Delete, urn, Some(old), None);
                self.step_start(&event);
                self.step_done(event);
                return;
            }
        };
        let old_side = (op == StepOp::Refresh).then_some(old);
        let mut event = show::step(op, urn, old_side, Some(new));
        if op == StepOp::Refresh {
            let (before, after) = if old.external {
                (&old.outputs, &new.outputs)
            } else {
                (&old.inputs, &new.inputs)
            };
            // Shown as what an `up` would change: from the world back to the state.
            let mut detailed = diff::compare(after, before);
            if detailed.is_empty() {
                detailed = diff::compare(&new.outputs, &old.outputs);
            }
            event.diff_keys = detailed.keys().cloned().collect();
            event.detailed_diff = Some(detailed);
            self.step_start(&event);
        }
        self.step_done(event);
    }

    /// Writes what was found: changed entries in order, then the vanished ones, last first, so
    /// that nothing ever refers to an entry that is gone.
    async fn take_found(&self, found: HashMap<usize, Found>) -> Result<(), MonitorError> {
        let entries: Vec<(usize, EntryId, Arc<ResourceState>)> = {
            let state = self.state.lock();
            let olds = state.olds.iter().enumerate();
            olds.filter(|(_, entry)| entry.fate != Fate::Settled)
                .map(|(index, entry)| (index, entry.id, Arc::clone(&entry.state)))
                .collect()
        };
        let is_gone = |index: &usize| matches!(found.get(index), Some(Found::Gone));
        let gone: HashSet<&Urn> = {
            let staying: HashSet<&Urn> = entries
                .iter()
                .filter(|(index, ..)| !is_gone(index))
                .filter_map(|(_, _, state)| state.urn.as_ref())
                .collect();
            entries
                .iter()
                .filter(|(index, ..)| is_gone(index))
                .filter_map(|(_, _, state)| state.urn.as_ref())
                .filter(|urn| !staying.contains(urn))
                .collect()
        };
        for (index, id, old) in &entries {
            let mut state = match found.get(index) {
                Some(Found::Present(state)) => (**state).clone(),
                Some(Found::Gone) | None => (**old).clone(),
            };
            references::retain(&mut state, &|urn| !gone.contains(urn));
            if state == **old || is_gone(index) {
                continue;
            }
            let entry = self.next_entry();
            self.write_entry(vec![*id], Some((entry, Arc::new(state.clone()))))
                .await?;
            let mut run = self.state.lock();
            run.olds[*index].id = entry;
            run.olds[*index].state = Arc::new(state);
        }
        for (index, id, old) in entries.iter().rev() {
            if is_gone(index) {
                self.write_entry(vec![*id], None).await?;
                self.set_fate(*index, Fate::Settled);
            }
            if found.contains_key(index) {
                self.settle_interrupted(old).await?;
            }
        }
        Ok(())
    }
}

/// Whether reading it makes sense.
fn is_readable(state: &ResourceState) -> bool {
    state.custom && !state.is_provider() && !state.pending_replacement && !state.id.is_empty()
}
