//! Writes the journal and keeps a copy, from which the state after the run is derived.

use std::sync::Arc;

use lockgate_model::JournalEntry;
use parking_lot::Mutex;

use crate::journal::{Durability, Journal, JournalError};

pub(crate) struct Recorder {
    /// `None` in a preview: nothing is written.
    journal: Option<Arc<dyn Journal>>,
    /// What the journal has taken. Records of independent steps may be in another order than on
    /// disk; every order in which they can be is valid.
    log: Mutex<Vec<JournalEntry>>,
}

impl Recorder {
    pub(crate) fn new(journal: Option<Arc<dyn Journal>>) -> Self {
        Self {
            journal,
            log: Mutex::new(Vec::new()),
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
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let copy = entries.clone();
        journal.append(entries, durability).await?;
        self.log.lock().extend(copy);
        Ok(())
    }

    pub(crate) fn entries(&self) -> Vec<JournalEntry> {
        self.log.lock().clone()
    }
}
