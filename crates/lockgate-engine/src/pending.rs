//! Operations that an earlier run left with an unknown outcome.
//!
//! A create is repeated with the same key and the recorded inputs, so that what the lost attempt
//! made is found and not made twice. An update is done again. A delete is done again before the
//! resource is created anew.

use std::sync::Arc;

use lockgate_diag::{Diagnostic, codes};
use lockgate_model::resource::PendingKind;
use lockgate_model::{EntryId, JournalEntry, PendingOperation, ResourceState, Urn};

use crate::engine::{Engine, Fate};
use crate::event::EngineEvent;
use crate::exec::{Outcome, StepCall, is_placeholder};
use crate::journal::Durability;
use crate::references;
use crate::registry::ProviderHandle;
use crate::source::MonitorError;

/// The pending operations of the base snapshot.
#[derive(Default)]
pub(crate) struct Pendings(Vec<Pending>);

struct Pending {
    operation: PendingOperation,
    /// Someone resolves it, or has.
    taken: bool,
    /// Its URN is exempt from a bound plan until the end of the run.
    resolved: bool,
}

impl Pendings {
    pub(crate) fn new(operations: &[PendingOperation]) -> Self {
        Self(
            operations
                .iter()
                .map(|operation| Pending {
                    operation: operation.clone(),
                    taken: false,
                    resolved: false,
                })
                .collect(),
        )
    }

    /// Whether any operation of the base, resolved by now or not, was about this resource.
    pub(crate) fn concerns(&self, urn: &Urn) -> bool {
        self.0
            .iter()
            .any(|pending| pending.operation.resource.urn.as_ref() == Some(urn))
    }

    fn take(&mut self, wanted: impl Fn(&PendingOperation) -> bool) -> Vec<(u64, PendingOperation)> {
        let mut taken = Vec::new();
        for (index, pending) in (0..).zip(&mut self.0) {
            if !pending.taken && wanted(&pending.operation) {
                pending.taken = true;
                taken.push((index, pending.operation.clone()));
            }
        }
        taken
    }

    fn find(&self, urn: &Urn, kind: PendingKind, id: &str) -> Option<&PendingOperation> {
        self.0
            .iter()
            .filter(|pending| !pending.resolved)
            .map(|pending| &pending.operation)
            .find(|operation| {
                operation.kind == kind
                    && operation.resource.urn.as_ref() == Some(urn)
                    && operation.resource.id == id
            })
    }
}

/// The operation under which an interrupted attempt left an old entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Interrupted {
    /// An update with these inputs and key.
    Update(Arc<ResourceState>, String),
    /// A delete.
    Delete,
}

impl Engine {
    /// Names the pending operations; forgets reads, which have no effects.
    pub(crate) async fn announce_pending(&self) {
        for operation in &self.base.pending {
            let what = match operation.kind {
                PendingKind::Creating => "create",
                PendingKind::Updating => "update",
                PendingKind::Deleting => "delete",
                PendingKind::Reading => continue,
            };
            let diagnostic = Diagnostic::warning(
                codes::program::PENDING_OPERATION,
                format!(
                    "an earlier run ended while it tried to {what} `{}`",
                    operation.resource.urn_str()
                ),
            )
            .hint("run `lockgate up` to finish it");
            self.emit(EngineEvent::Diagnostic(Box::new(diagnostic)));
        }
        let reads = {
            let mut state = self.state.lock();
            state.pendings.take(|o| o.kind == PendingKind::Reading)
        };
        // A journal error was reported by the recorder.
        let _ = self.resolve(&reads, Durability::Queued).await;
    }

    async fn resolve(
        &self,
        operations: &[(u64, PendingOperation)],
        durability: Durability,
    ) -> Result<(), MonitorError> {
        if operations.is_empty() {
            return Ok(());
        }
        for (index, _) in operations {
            if let Ok(index) = usize::try_from(*index) {
                self.state.lock().pendings.0[index].resolved = true;
            }
        }
        let entries = operations
            .iter()
            .map(|(index, _)| JournalEntry::Resolved { pending: *index })
            .collect();
        self.record(entries, durability).await
    }

    /// How an interrupted run may have left this old entry.
    pub(crate) fn interrupted(&self, old: &ResourceState) -> Option<Interrupted> {
        let urn = old.urn.as_ref()?;
        let state = self.state.lock();
        if state
            .pendings
            .find(urn, PendingKind::Deleting, &old.id)
            .is_some()
        {
            return Some(Interrupted::Delete);
        }
        let update = state.pendings.find(urn, PendingKind::Updating, &old.id)?;
        Some(Interrupted::Update(
            Arc::clone(&update.resource),
            update.idempotency_key.clone(),
        ))
    }

    /// The update or delete of this entry came to an end: earlier attempts no longer matter.
    pub(crate) async fn settle_interrupted(&self, old: &ResourceState) -> Result<(), MonitorError> {
        let Some(urn) = &old.urn else { return Ok(()) };
        let settled = self.state.lock().pendings.take(|operation| {
            matches!(
                operation.kind,
                PendingKind::Updating | PendingKind::Deleting
            ) && operation.resource.urn.as_ref() == Some(urn)
                && operation.resource.id == old.id
        });
        self.resolve(&settled, Durability::Queued).await
    }

    /// Repeats a create of this resource whose answer was lost. The index of the old entry that
    /// it left, if it left one.
    pub(crate) async fn adopt(
        &self,
        urn: &Urn,
        old: Option<usize>,
        handle: &ProviderHandle,
    ) -> Result<Option<usize>, MonitorError> {
        if self.is_preview() {
            return Ok(None);
        }
        let lost = self.state.lock().pendings.take(|operation| {
            operation.kind == PendingKind::Creating
                && !operation.resource.delete
                && operation.resource.urn.as_ref() == Some(urn)
        });
        let mut adopted = None;
        for pending in &lost {
            let old = adopted.or(old);
            if let Some((id, state)) = self.repeat_create(pending, handle, old, false).await? {
                adopted = Some(self.push_old(id, state, Fate::Waiting));
            }
        }
        Ok(adopted)
    }

    /// Repeats lost creates that nothing asked for in this run, so that they can be deleted.
    pub(crate) async fn adopt_unwanted(&self) -> Result<(), MonitorError> {
        if self.is_preview() {
            return Ok(());
        }
        let lost = self.state.lock().pendings.take(|operation| {
            operation.kind == PendingKind::Creating
                && operation
                    .resource
                    .urn
                    .as_ref()
                    .is_some_and(|urn| self.targets.is_empty() || self.targets.matches(urn))
        });
        for pending in lost {
            let handle = self.handle(&pending.1.resource.provider, None).await?;
            if let Some((id, state)) = self.repeat_create(&pending, &handle, None, true).await? {
                self.push_old(id, state, Fate::Displaced);
            }
        }
        Ok(())
    }

    async fn repeat_create(
        &self,
        pending: &(u64, PendingOperation),
        handle: &ProviderHandle,
        old: Option<usize>,
        unwanted: bool,
    ) -> Result<Option<(EntryId, Arc<ResourceState>)>, MonitorError> {
        let operation = &pending.1;
        let mut resource = (*operation.resource).clone();
        resource.delete |= unwanted;
        resource.protect &= !unwanted;
        let mut remove = Vec::new();
        {
            let state = self.state.lock();
            references::retain(&mut resource, &|urn| {
                state.live.contains_key(urn) || state.by_urn.contains_key(urn)
            });
            let old = old.map(|index| &state.olds[index]);
            remove.extend(
                old.filter(|old| is_placeholder(&old.state))
                    .map(|old| old.id),
            );
        }
        let fate = if remove.is_empty() {
            Fate::Displaced
        } else {
            Fate::Settled
        };
        let call = StepCall {
            handle,
            key: Some(operation.idempotency_key.clone()),
            remove,
            resolves: Some(pending.0),
        };
        match self.create_remote(call, resource).await? {
            Outcome::Done(id, state) | Outcome::Partial(id, state, _) => {
                if let (Some(old), false) = (old, unwanted) {
                    self.set_fate(old, fate);
                }
                Ok(Some((id, state)))
            }
            // It is certain now that nothing was made.
            Outcome::Failed(_) => Ok(None),
            Outcome::Unresolved(diagnostic) => Err(self.report(diagnostic)),
        }
    }

    /// Forgets updates and deletes of resources that have no entry any more.
    pub(crate) async fn resolve_leftovers(&self) {
        let leftovers = {
            let mut state = self.state.lock();
            let exists: std::collections::HashSet<Urn> = state
                .olds
                .iter()
                .filter(|entry| entry.fate != Fate::Settled)
                .filter_map(|entry| entry.state.urn.clone())
                .chain(state.live.keys().cloned())
                .collect();
            state.pendings.take(|operation| {
                operation.kind != PendingKind::Creating
                    && operation
                        .resource
                        .urn
                        .as_ref()
                        .is_none_or(|urn| !exists.contains(urn))
            })
        };
        // A journal error was reported by the recorder.
        let _ = self.resolve(&leftovers, Durability::Queued).await;
    }
}
