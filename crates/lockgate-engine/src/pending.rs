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

    fn find(&self, kind: PendingKind, old: &ResourceState) -> Option<&PendingOperation> {
        self.0
            .iter()
            .filter(|pending| !pending.resolved)
            .map(|pending| &pending.operation)
            .find(|operation| operation.kind == kind && is_same_object(&operation.resource, old))
    }
}

/// Whether two entries stand for one thing in the world.
fn is_same_object(a: &ResourceState, b: &ResourceState) -> bool {
    a.id == b.id && a.type_token() == b.type_token() && a.provider == b.provider
}

/// The operation under which an interrupted attempt left an old entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Interrupted {
    /// An update with these inputs and key.
    Update(Arc<ResourceState>, String),
    /// A delete.
    Delete,
}

/// What became of lost creates of a resource that is registered again.
pub(crate) enum Adopted {
    /// There were none.
    Nothing,
    /// The entry of what was made, which counts as old now.
    Entry(usize),
    /// The repeat was refused; creating goes on under its key.
    Retry(Box<PendingOperation>),
}

impl Engine {
    /// Names the pending operations; forgets reads, which have no effects, and creates if told.
    pub(crate) async fn announce_pending(&self) {
        for operation in &self.base.pending {
            let what = match operation.kind {
                PendingKind::Creating => "create",
                PendingKind::Updating => "update",
                PendingKind::Deleting => "delete",
                PendingKind::Reading => continue,
            };
            let mut diagnostic = Diagnostic::warning(
                codes::program::PENDING_OPERATION,
                format!(
                    "an earlier run ended while it tried to {what} `{}`",
                    operation.resource.urn_str()
                ),
            );
            if self.is_preview() {
                diagnostic = diagnostic.hint("run `lockgate up` to finish it");
            }
            self.emit(EngineEvent::Diagnostic(Box::new(diagnostic)));
        }
        let clear = self.options.clear_pending_creates;
        let reads = self.state.lock().pendings.take(|operation| {
            operation.kind == PendingKind::Reading
                || (clear && operation.kind == PendingKind::Creating)
        });
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
        let state = self.state.lock();
        if state.pendings.find(PendingKind::Deleting, old).is_some() {
            return Some(Interrupted::Delete);
        }
        let update = state.pendings.find(PendingKind::Updating, old)?;
        Some(Interrupted::Update(
            Arc::clone(&update.resource),
            update.idempotency_key.clone(),
        ))
    }

    /// The update or delete of this entry came to an end: earlier attempts no longer matter.
    pub(crate) async fn settle_interrupted(&self, old: &ResourceState) -> Result<(), MonitorError> {
        let settled = self.state.lock().pendings.take(|operation| {
            matches!(
                operation.kind,
                PendingKind::Updating | PendingKind::Deleting
            ) && is_same_object(&operation.resource, old)
        });
        self.resolve(&settled, Durability::Queued).await
    }

    /// Repeats creates of this resource whose answer was lost.
    pub(crate) async fn adopt(
        &self,
        urn: &Urn,
        old: Option<usize>,
        handle: &ProviderHandle,
    ) -> Result<Adopted, MonitorError> {
        if self.is_preview() {
            return Ok(Adopted::Nothing);
        }
        let lost = self.state.lock().pendings.take(|operation| {
            operation.kind == PendingKind::Creating
                && !operation.resource.delete
                && operation.resource.urn.as_ref() == Some(urn)
        });
        let stands = old.is_some_and(|index| !is_placeholder(&self.old(index).1));
        let mut adopted = Adopted::Nothing;
        for pending in &lost {
            let before = match adopted {
                Adopted::Entry(index) => Some(index),
                _ => old,
            };
            adopted = match self.repeat_create(pending, handle, before, false).await? {
                Ok((id, state)) => Adopted::Entry(self.push_old(id, state, Fate::Waiting)),
                // The program may have mended what is refused; the key stays.
                Err(_) if !stands && lost.len() == 1 => Adopted::Retry(Box::new(pending.1.clone())),
                Err(diagnostic) => return Err(self.report(*diagnostic)),
            };
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
                    .is_some_and(|urn| self.scope.contains(urn))
        });
        for pending in lost {
            let handle = self.handle(&pending.1.resource.provider, None).await?;
            match self.repeat_create(&pending, &handle, None, true).await? {
                Ok((id, state)) => self.push_old(id, state, Fate::Displaced),
                Err(diagnostic) => {
                    let hint = "if it was never created, forget it with `lockgate refresh \
                                --clear-pending-creates`";
                    return Err(self.report(diagnostic.hint(hint)));
                }
            };
        }
        Ok(())
    }

    async fn repeat_create(
        &self,
        pending: &(u64, PendingOperation),
        handle: &ProviderHandle,
        old: Option<usize>,
        unwanted: bool,
    ) -> Result<Result<(EntryId, Arc<ResourceState>), Box<Diagnostic>>, MonitorError> {
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
            remember: None,
        };
        match self.create_remote(call, resource).await? {
            Outcome::Done(id, state) | Outcome::Partial(id, state, _) => {
                if let (Some(old), false) = (old, unwanted) {
                    self.set_fate(old, fate);
                }
                Ok(Ok((id, state)))
            }
            // A refused repeat does not prove that the first attempt made nothing.
            Outcome::Failed(diagnostic) => Ok(Err(Box::new(diagnostic))),
            Outcome::Unresolved(diagnostic) => Err(self.report(diagnostic)),
        }
    }

    /// Forgets updates and deletes of resources that have no entry any more.
    pub(crate) async fn resolve_leftovers(&self) {
        let leftovers = {
            let mut state = self.state.lock();
            let olds = state.olds.iter();
            let remaining: Vec<Arc<ResourceState>> = olds
                .filter(|entry| entry.fate != Fate::Settled)
                .map(|entry| &entry.state)
                .chain(state.live.values().map(|live| &live.state))
                .map(Arc::clone)
                .collect();
            state.pendings.take(|operation| {
                let is_object =
                    |state: &Arc<ResourceState>| is_same_object(&operation.resource, state);
                operation.kind != PendingKind::Creating && !remaining.iter().any(is_object)
            })
        };
        // A journal error was reported by the recorder.
        let _ = self.resolve(&leftovers, Durability::Queued).await;
    }
}
