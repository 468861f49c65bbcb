//! The journal of a run: an append-only file beside the snapshot it starts from.
//!
//! Entries are encoded by the caller, secrets as cells, and written by one thread. While it
//! waits for the disk, further appends queue up and share the next fsync. The file appears with
//! the first entry that has to be durable, so a run that changes nothing writes nothing.

pub(crate) mod entry;
pub(crate) mod frame;
mod recovery;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::{Durability, Journal, JournalError};
use lockgate_model::{JournalEntry, Snapshot};
use tokio::sync::{mpsc, oneshot};

use crate::error::StateError;
use crate::lease::Fence;
use crate::secrets::SecretsManager;
use crate::snapshot::{StackFolder, Stored};

pub(crate) use recovery::{read_journal, salvage_journal};

use writer::{Request, Writer};

/// Appends that wait for the writer; further ones wait in `append`. Enough for one batch of the
/// 5,000 registrations a program may have outstanding, small against their own memory.
const QUEUE: usize = 1024;

/// The state after a run.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The snapshot that is now the stack's.
    pub snapshot: Arc<Snapshot>,
    /// Whether it differs from the one before.
    pub changed: bool,
}

/// The engine's journal, kept in a file of the stack. End it with [`StackJournal::commit`];
/// without, the next run recovers what was written.
pub struct StackJournal {
    secrets: SecretsManager,
    queue: mpsc::Sender<Request>,
}

impl StackJournal {
    /// Starts the writer thread; `base` is the stack's current snapshot.
    pub(crate) fn start(
        folder: StackFolder,
        fence: Fence,
        base: Stored,
    ) -> Result<Self, StateError> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let secrets = base.secrets.clone();
        let stack = folder.stack.to_string();
        let writer = Writer::new(folder, fence, base);
        std::thread::Builder::new()
            .name("journal writer".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(StateError::io("start the journal writer of", stack))?;
        Ok(Self { secrets, queue })
    }

    /// Replays the journal, checks the result, makes it the stack's snapshot and removes the
    /// journal. A result that fails the check is not written and the journal stays.
    ///
    /// Later appends fail. Dropping the future does not stop what has begun.
    pub async fn commit(&self) -> Result<Committed, StateError> {
        let (reply, committed) = oneshot::channel();
        let sent = self.queue.send(Request::Commit { reply }).await;
        match (sent, committed.await) {
            (Ok(()), Ok(result)) => result,
            _ => Err(StateError::io("commit the journal in", "a closed run")(
                std::io::ErrorKind::BrokenPipe.into(),
            )),
        }
    }
}

/// The writer thread is gone: the run was committed, or it failed before.
fn closed() -> JournalError {
    JournalError::Store("the journal is closed".into())
}

#[async_trait]
impl Journal for StackJournal {
    async fn append(
        &self,
        entries: Vec<JournalEntry>,
        durability: Durability,
    ) -> Result<(), JournalError> {
        let payloads = entries
            .iter()
            .map(|entry| entry::encode_entry(entry, &self.secrets))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| JournalError::Store(Box::new(error)))?;
        let (reply, written) = match durability {
            Durability::Queued => (None, None),
            Durability::Durable => {
                let (reply, written) = oneshot::channel();
                (Some(reply), Some(written))
            }
        };
        let request = Request::Append {
            entries,
            payloads,
            reply,
        };
        self.queue.send(request).await.map_err(|_| closed())?;
        match written {
            Some(written) => written.await.unwrap_or_else(|_| Err(closed())),
            None => Ok(()),
        }
    }
}
