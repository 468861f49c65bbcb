//! Replay: a base snapshot and the journal of a run give the state at that moment.
//!
//! Beyond what `lockgate_model::journal` says, three rules keep every prefix valid:
//! - an added live entry *displaces* a live entry with its URN that it does not remove: the
//!   displaced one waits for its deletion, and is no longer protected;
//! - an added entry that removes one with another URN *renames* it: all entries follow in their
//!   references, since no run gives the old name to another resource;
//! - an entry moves back as far as needed to come after everything it refers to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use lockgate_model::{EntryId, JournalEntry, PendingOperation, ResourceState, Snapshot, Urn};

use crate::integrity::references;
use crate::references::rename;

/// A journal that does not belong to its base snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// An entry is named that does not exist, or not any more.
    #[error("journal record {record} names entry {}, which does not exist", entry.0)]
    UnknownEntry {
        /// Position in the journal.
        record: usize,
        /// The entry.
        entry: EntryId,
    },
    /// A number was given twice.
    #[error("journal record {record} adds entry {}, which exists", entry.0)]
    EntryTwice {
        /// Position in the journal.
        record: usize,
        /// The entry.
        entry: EntryId,
    },
    /// A step ended that did not begin.
    #[error("journal record {record} ends step {step}, which did not begin")]
    UnknownStep {
        /// Position in the journal.
        record: usize,
        /// The step.
        step: u64,
    },
    /// A pending operation is resolved that the base does not have.
    #[error("journal record {record} resolves pending operation {pending}, which does not exist")]
    UnknownPending {
        /// Position in the journal.
        record: usize,
        /// Its index.
        pending: u64,
    },
}

/// The state after `entries`, which start from `base`. Pure.
pub fn replay(base: &Snapshot, entries: &[JournalEntry]) -> Result<Snapshot, ReplayError> {
    let mut machine = Replayer::new(base);
    for (record, entry) in entries.iter().enumerate() {
        machine.apply(record, entry)?;
    }
    Ok(machine.finish())
}

struct Replayer<'a> {
    base: &'a Snapshot,
    /// Every entry that exists, by number.
    slots: HashMap<EntryId, Arc<ResourceState>>,
    /// Produced and kept entries, in order of completion.
    produced: Vec<EntryId>,
    /// Base entries that were kept.
    kept: HashSet<EntryId>,
    /// The one live entry of each URN.
    live: HashMap<Urn, EntryId>,
    begun: BTreeMap<u64, PendingOperation>,
    unresolved: Vec<PendingOperation>,
    resolved: HashSet<u64>,
    renames: HashMap<Urn, Urn>,
}

impl<'a> Replayer<'a> {
    fn new(base: &'a Snapshot) -> Self {
        let mut slots = HashMap::with_capacity(base.resources.len());
        let mut live = HashMap::with_capacity(base.resources.len());
        for (index, state) in (0..).zip(&base.resources) {
            let id = EntryId(index);
            slots.insert(id, Arc::clone(state));
            if let (Some(urn), false) = (&state.urn, state.delete) {
                live.insert(urn.clone(), id);
            }
        }
        Self {
            base,
            slots,
            produced: Vec::new(),
            kept: HashSet::new(),
            live,
            begun: BTreeMap::new(),
            unresolved: Vec::new(),
            resolved: HashSet::new(),
            renames: HashMap::new(),
        }
    }

    fn apply(&mut self, record: usize, entry: &JournalEntry) -> Result<(), ReplayError> {
        match entry {
            JournalEntry::Begin {
                step,
                kind,
                resource,
                idempotency_key,
            } => {
                let pending = PendingOperation {
                    resource: Arc::clone(resource),
                    kind: *kind,
                    idempotency_key: idempotency_key.clone(),
                };
                self.begun.insert(*step, pending);
            }
            JournalEntry::Done { step, remove, add } => {
                if let Some(step) = step {
                    let ended = self.end_step(record, *step)?;
                    let is_other =
                        |p: &PendingOperation| p.idempotency_key != ended.idempotency_key;
                    self.unresolved.retain(is_other);
                }
                self.done(record, remove, add.as_ref())?;
            }
            JournalEntry::Failed { step, unresolved } => {
                let pending = self.end_step(record, *step)?;
                if *unresolved {
                    self.unresolved.push(pending);
                }
            }
            JournalEntry::Keep { entry } => {
                if !self.slots.contains_key(entry) || !self.kept.insert(*entry) {
                    return Err(ReplayError::UnknownEntry {
                        record,
                        entry: *entry,
                    });
                }
                self.produced.push(*entry);
            }
            JournalEntry::Outputs { entry, outputs } => {
                let slot = self.slots.get_mut(entry).ok_or(ReplayError::UnknownEntry {
                    record,
                    entry: *entry,
                })?;
                Arc::make_mut(slot).outputs.clone_from(outputs);
            }
            JournalEntry::Resolved { pending } => {
                if usize::try_from(*pending).map_or(true, |index| index >= self.base.pending.len())
                {
                    return Err(ReplayError::UnknownPending {
                        record,
                        pending: *pending,
                    });
                }
                self.resolved.insert(*pending);
            }
            JournalEntry::Finished => {}
        }
        Ok(())
    }

    fn end_step(&mut self, record: usize, step: u64) -> Result<PendingOperation, ReplayError> {
        self.begun
            .remove(&step)
            .ok_or(ReplayError::UnknownStep { record, step })
    }

    fn done(
        &mut self,
        record: usize,
        remove: &[EntryId],
        add: Option<&(EntryId, Arc<ResourceState>)>,
    ) -> Result<(), ReplayError> {
        for id in remove {
            let gone = self
                .slots
                .remove(id)
                .ok_or(ReplayError::UnknownEntry { record, entry: *id })?;
            let Some(old) = &gone.urn else { continue };
            if self.live.get(old) == Some(id) {
                self.live.remove(old);
            }
            let new = add.and_then(|(_, state)| state.urn.as_ref());
            if let Some(new) = new.filter(|new| *new != old) {
                self.renames.insert(old.clone(), new.clone());
            }
        }
        let Some((id, state)) = add else {
            return Ok(());
        };
        if self.slots.contains_key(id) {
            return Err(ReplayError::EntryTwice { record, entry: *id });
        }
        if let (Some(urn), false) = (&state.urn, state.delete)
            && let Some(displaced) = self.live.insert(urn.clone(), *id)
            && let Some(slot) = self.slots.get_mut(&displaced)
        {
            *slot = Arc::new(displace(slot));
        }
        self.slots.insert(*id, Arc::clone(state));
        self.produced.push(*id);
        Ok(())
    }

    fn finish(self) -> Snapshot {
        let mut resources = Vec::with_capacity(self.slots.len());
        let base = (0..self.base.resources.len() as u64).map(EntryId);
        let waiting = base.filter(|id| !self.kept.contains(id));
        for id in self.produced.iter().copied().chain(waiting) {
            let state = self.slots.get(&id);
            resources.extend(state.map(|state| rename(state, &self.renames)));
        }
        let old = (0..).zip(&self.base.pending);
        let mut pending: Vec<PendingOperation> = Vec::new();
        for mut operation in old
            .filter(|(index, _)| !self.resolved.contains(index))
            .map(|(_, operation)| operation.clone())
            .chain(self.unresolved.iter().cloned())
            .chain(self.begun.values().cloned())
        {
            if let Some(new) = operation
                .resource
                .urn
                .as_ref()
                .and_then(|urn| self.renames.get(urn))
            {
                Arc::make_mut(&mut operation.resource).urn = Some(new.clone());
            }
            // A repeat of an operation that was pending already replaces it.
            pending.retain(|other| other.idempotency_key != operation.idempotency_key);
            pending.push(operation);
        }
        Snapshot {
            resources: in_order(resources),
            pending,
            extra: self.base.extra.clone(),
        }
    }
}

/// The entry of a resource whose replacement exists.
pub(crate) fn displace(state: &ResourceState) -> ResourceState {
    ResourceState {
        delete: true,
        protect: false,
        ..state.clone()
    }
}

/// Moves entries back, as few as possible, until each comes after everything it refers to.
fn in_order(resources: Vec<Arc<ResourceState>>) -> Vec<Arc<ResourceState>> {
    let mut seen: HashSet<&Urn> = HashSet::with_capacity(resources.len());
    let ordered = resources.iter().all(|state| {
        let fits = references(state).all(|(urn, _)| seen.contains(&urn));
        seen.extend(&state.urn);
        fits
    });
    if ordered {
        return resources;
    }
    // The live entry of a URN if there is one: those that wait for deletion may lead in a circle.
    let mut by_urn: HashMap<&Urn, usize> = HashMap::new();
    for (index, state) in resources.iter().enumerate() {
        let Some(urn) = &state.urn else { continue };
        if state.delete {
            by_urn.entry(urn).or_insert(index);
        } else {
            by_urn.insert(urn, index);
        }
    }
    let mut placed = vec![false; resources.len()];
    let mut order = Vec::with_capacity(resources.len());
    // An explicit stack: dependency chains may be as long as the stack of the program.
    let mut stack: Vec<(usize, bool)> = (0..resources.len()).rev().map(|i| (i, false)).collect();
    while let Some((index, referents_done)) = stack.pop() {
        if placed[index] && !referents_done {
            continue;
        }
        if referents_done {
            order.push(Arc::clone(&resources[index]));
            continue;
        }
        placed[index] = true;
        stack.push((index, true));
        for (urn, _) in references(&resources[index]) {
            let target = by_urn.get(&urn).filter(|target| !placed[**target]);
            stack.extend(target.map(|target| (*target, false)));
        }
    }
    order
}

#[cfg(test)]
mod tests;
