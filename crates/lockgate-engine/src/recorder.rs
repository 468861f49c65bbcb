//! Writes the journal and keeps a copy, from which the state after the run is derived.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockgate_model::JournalEntry;
use parking_lot::Mutex;

use crate::journal::{Durability, Journal, JournalError};

pub(crate) struct Recorder {
    /// `None` in a preview: nothing is written.
    journal: Option<Arc<dyn Journal>>,
    /// What the journal has taken. Records of independent steps may be in another order than on
    /// disk; every order in which they can be is valid.
    log: Mutex<Vec<JournalEntry>>,
    /// Something other than "as it was" was recorded, or would have been in a preview.
    changed: AtomicBool,
}

impl Recorder {
    pub(crate) fn new(journal: Option<Arc<dyn Journal>>) -> Self {
        Self {
            journal,
            log: Mutex::new(Vec::new()),
            changed: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.journal.is_some()
    }

    pub(crate) async fn append(
        &self,
        entries: Vec<JournalEntry>,
        durability: Durability,
    ) -> Result<(), JournalError> {
        let same = |entry: &JournalEntry| {
            matches!(entry, JournalEntry::Keep { .. } | JournalEntry::Finished)
        };
        if !entries.iter().all(same) {
            self.changed.store(true, Ordering::Relaxed);
        }
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let copy = entries.clone();
        journal.append(entries, durability).await?;
        self.log.lock().extend(copy);
        Ok(())
    }

    /// Whether the run changes the state, be it only an option or an output of the stack.
    pub(crate) fn has_changes(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    pub(crate) fn entries(&self) -> Vec<JournalEntry> {
        self.log.lock().clone()
    }
}
