//! The thread that writes a journal and turns it into a snapshot.

use std::io::Write;
use std::sync::Arc;

use lockgate_engine::JournalError;
use lockgate_engine::journal::replay;
use lockgate_model::JournalEntry;
use tokio::sync::{mpsc, oneshot};

use super::Committed;
use super::frame::{PAYLOAD_BYTES_MAX, encode_frame};
use super::recovery::Opening;
use crate::error::StateError;
use crate::files::{JOURNAL_CREATE, JOURNAL_FSYNC, JOURNAL_WRITE, create_new};
use crate::lease::Fence;
use crate::snapshot::{StackFolder, Stored, commit_snapshot, remove_journals};

/// Requests taken into one batch, so that the first of them does not wait for ever.
const BATCH: usize = 4096;
/// Queued entries are written at the latest when they reach this size.
const BUFFER_BYTES: usize = 4 << 20;

/// What the writer is asked to do.
pub(super) enum Request {
    Append {
        entries: Vec<JournalEntry>,
        /// The same entries, encoded.
        payloads: Vec<Vec<u8>>,
        /// Present when the caller waits for the disk.
        reply: Option<oneshot::Sender<Result<(), JournalError>>>,
    },
    Commit {
        reply: oneshot::Sender<Result<Committed, StateError>>,
    },
}

pub(super) struct Writer {
    folder: StackFolder,
    fence: Fence,
    base: Stored,
    /// Made with the first write.
    file: Option<fs_err::File>,
    /// Frames not written yet.
    buffer: Vec<u8>,
    sequence: u64,
    /// Bytes given to the file system.
    written: u64,
    /// Bytes of them that reached the disk.
    durable: u64,
    /// Kept so that a commit need not read the file back.
    entries: Vec<JournalEntry>,
    /// After a failure nothing is written any more: an fsync that failed may have dropped data
    /// that a second one would not mention.
    broken: Option<Arc<StateError>>,
}

impl Writer {
    pub(super) fn new(folder: StackFolder, fence: Fence, base: Stored) -> Self {
        Self {
            folder,
            fence,
            base,
            file: None,
            buffer: Vec::new(),
            sequence: 0,
            written: 0,
            durable: 0,
            entries: Vec::new(),
            broken: None,
        }
    }

    /// Works until the journal is committed or dropped.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut batch = Vec::new();
        while requests.blocking_recv_many(&mut batch, BATCH) > 0 {
            let mut replies = Vec::new();
            let mut commit = None;
            for request in batch.drain(..) {
                match request {
                    Request::Append {
                        entries,
                        payloads,
                        reply,
                    } => {
                        self.take(entries, &payloads);
                        replies.extend(reply);
                    }
                    Request::Commit { reply } => {
                        commit = Some(reply);
                        break;
                    }
                }
            }
            if !replies.is_empty() || self.buffer.len() >= BUFFER_BYTES {
                self.flush();
            }
            for reply in replies {
                // A caller that gave up needs no answer.
                let _ = reply.send(self.outcome());
            }
            if let Some(reply) = commit {
                requests.close();
                let _ = reply.send(self.commit());
                return;
            }
        }
    }

    fn outcome(&self) -> Result<(), JournalError> {
        match &self.broken {
            None => Ok(()),
            Some(error) if matches!(**error, StateError::LeaseLost(_)) => {
                Err(JournalError::LeaseLost)
            }
            Some(error) => Err(JournalError::Store(Box::new(Shared(Arc::clone(error))))),
        }
    }

    fn take(&mut self, entries: Vec<JournalEntry>, payloads: &[Vec<u8>]) {
        if self.broken.is_some() || payloads.is_empty() {
            return;
        }
        if self.sequence == 0 {
            let opening = Opening::encode(&self.base.mark);
            self.frame(&opening);
        }
        for payload in payloads {
            self.frame(payload);
        }
        self.entries.extend(entries);
    }

    fn frame(&mut self, payload: &[u8]) {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let error =
                StateError::io("write", self.path())(std::io::ErrorKind::FileTooLarge.into());
            self.broken.get_or_insert(Arc::new(error));
            return;
        }
        let fencing = self.fence.fencing;
        encode_frame(
            &mut self.buffer,
            self.sequence,
            fencing,
            self.durable,
            payload,
        );
        self.sequence += 1;
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.journal(self.fence.fencing)
    }

    /// Writes the buffer and waits for the disk, unless something failed before.
    fn flush(&mut self) {
        if self.broken.is_some() || self.buffer.is_empty() {
            return;
        }
        let fence = self.fence.clone();
        if let Err(error) = fence.write(|| self.write_and_sync()) {
            self.broken = Some(Arc::new(error));
        }
        self.buffer.clear();
    }

    fn write_and_sync(&mut self) -> Result<(), StateError> {
        let path = self.path();
        let disk = self.folder.disk.clone();
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = disk.at(&JOURNAL_CREATE, || create_new(&path))?;
                disk.sync_folder(&self.folder.path)?;
                file
            }
        };
        disk.at(&JOURNAL_WRITE, || file.write_all(&self.buffer))
            .map_err(StateError::io("write", &path))?;
        self.written += self.buffer.len() as u64;
        disk.at(&JOURNAL_FSYNC, || file.sync_data())
            .map_err(StateError::io("fsync", &path))?;
        self.durable = self.written;
        self.file = Some(file);
        Ok(())
    }

    fn commit(mut self) -> Result<Committed, StateError> {
        if let Some(error) = self.broken.take() {
            return Err(match Arc::try_unwrap(error) {
                Ok(error) => error,
                Err(shared) => {
                    StateError::io("write", self.path())(std::io::Error::other(Shared(shared)))
                }
            });
        }
        let base = &self.base;
        let next = replay(&base.snapshot, &self.entries).map_err(|source| StateError::Replay {
            stack: self.folder.stack.clone(),
            source: Box::new(source),
        })?;
        if next == *base.snapshot {
            if self.file.is_some() {
                self.fence.write(|| remove_journals(&self.folder))?;
            }
            return Ok(Committed {
                snapshot: Arc::clone(&base.snapshot),
                changed: false,
            });
        }
        let serial = base.mark.serial + 1;
        commit_snapshot(&self.folder, &self.fence, &next, &base.secrets, serial)?;
        Ok(Committed {
            snapshot: Arc::new(next),
            changed: true,
        })
    }
}

/// One failure told to every caller that waited for it.
#[derive(Debug)]
struct Shared(Arc<StateError>);

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
