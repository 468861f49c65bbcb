//! The exclusive right to change a stack.
//!
//! A lease is a record in a file: holder, expiry, and a fencing number that grows with each
//! holder. A file lock (`flock`) is held only for the moment in which the record is changed or a
//! write is made; it makes "is the number still mine?" and the write itself one step. A holder
//! that was stopped past its expiry finds a higher number and can write nothing more.

mod process;
mod record;
mod renewal;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use lockgate_model::{Clock, Timestamp};
use rustix::fs::{FlockOperation, flock};

use crate::error::StateError;
use crate::files::{Disk, LEASE, LEASE_LOCK};
use crate::name::StackName;

pub use process::Process;
pub use record::Holder;
pub(crate) use record::Record;
use renewal::Renewal;

/// How long a lease lasts without renewal; the longest time a crashed holder on another machine
/// blocks a stack (engine guide, section 21).
pub const LEASE_TTL: Duration = Duration::from_secs(30);

/// Pause between two tries for the file lock. The lock is held for a write and an fsync.
const LOCK_PAUSE: Duration = Duration::from_millis(2);
/// Tries before the lock counts as stuck, about ten seconds: its owner is stopped amid a write.
const LOCK_TRIES: u32 = 5_000;

/// The files of one stack that have to do with its lease.
#[derive(Clone)]
pub(crate) struct LeaseFiles {
    pub(crate) stack: StackName,
    /// Locked, never written; replaced only together with the stack's folder.
    lock: PathBuf,
    /// Replaced whole under the lock.
    record: PathBuf,
    disk: Disk,
    clock: Arc<dyn Clock>,
}

impl LeaseFiles {
    pub(crate) fn new(stack: StackName, folder: &Path, disk: Disk, clock: Arc<dyn Clock>) -> Self {
        Self {
            stack,
            lock: folder.join("lock"),
            record: folder.join("lease"),
            disk,
            clock,
        }
    }

    /// Runs `then` under the file lock. Readers share it.
    pub(crate) fn locked<T>(
        &self,
        mode: LockMode,
        then: impl FnOnce() -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let operation = match mode {
            LockMode::Read => FlockOperation::NonBlockingLockShared,
            LockMode::Write => FlockOperation::NonBlockingLockExclusive,
        };
        for _ in 0..LOCK_TRIES {
            let file = match fs::File::open(&self.lock) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(StateError::NoStack(self.stack.clone()));
                }
                Err(error) => return Err(StateError::io("open", &self.lock)(error)),
            };
            match self.disk.at(&LEASE_LOCK, || flock(&file, operation)) {
                // The folder may have been removed and made anew since the file was opened; a
                // lock on the old one guards nothing.
                Ok(()) if self.is_current(&file) => {
                    let result = then();
                    drop(file);
                    return result;
                }
                Ok(()) => {}
                Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(error) => return Err(StateError::io("lock", &self.lock)(error.into())),
            }
        }
        Err(self.stuck())
    }

    fn is_current(&self, file: &fs::File) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (file.metadata(), fs::metadata(&self.lock)) {
            (Ok(ours), Ok(current)) => ours.ino() == current.ino() && ours.dev() == current.dev(),
            _ => false,
        }
    }

    /// The lock was not free for too long: says who most likely has it.
    fn stuck(&self) -> StateError {
        match self.look() {
            Ok(Record {
                holder: Some(holder),
                ..
            }) => StateError::Held {
                stack: self.stack.clone(),
                holder: Box::new(holder),
            },
            _ => StateError::io("lock", &self.lock)(std::io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The record; call it under the lock.
    fn read(&self) -> Result<Record, StateError> {
        record::load_record(&self.record)
    }

    /// The record, or when its file is damaged an empty one with a fencing number that no
    /// surviving write has passed. Call it under the lock.
    fn read_or_rebuild(
        &self,
        fencing_floor: impl FnOnce() -> Result<u64, StateError>,
    ) -> Result<Record, StateError> {
        match self.read() {
            Err(StateError::Damaged { .. }) => {
                let mut record = Record::default();
                record.fencing = fencing_floor()?;
                Ok(record)
            }
            other => other,
        }
    }

    /// The record for those who only look: a damaged one says nothing.
    pub(crate) fn look(&self) -> Result<Record, StateError> {
        self.read_or_rebuild(|| Ok(0))
    }

    /// Replaces the record durably: a fencing number must not come back after a power loss.
    fn write(&self, record: &Record) -> Result<(), StateError> {
        self.disk.write_file(&LEASE, &self.record, &record.encode())
    }

    fn expiry(&self) -> Timestamp {
        let ttl = i64::try_from(LEASE_TTL.as_nanos()).unwrap_or(i64::MAX);
        Timestamp(self.clock.now().0.saturating_add(ttl))
    }
}

/// Who may be inside the lock together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockMode {
    Read,
    Write,
}

/// The lease of a stack, renewed by a thread until it is released or dropped.
///
/// Dropping it without [`Lease::release`] leaves the record to expire, or to be taken over at
/// once when this process is gone.
pub struct Lease {
    fence: Fence,
    renewal: Option<Renewal>,
}

/// The right to write as long as the fencing number is ours.
#[derive(Clone)]
pub(crate) struct Fence {
    pub(crate) files: LeaseFiles,
    pub(crate) fencing: u64,
    /// Compared as well as the number, which could repeat after a damaged record was rebuilt.
    holder: Holder,
}

impl Fence {
    /// Runs a write under the lock, provided nobody took the lease over.
    pub(crate) fn write<T>(
        &self,
        then: impl FnOnce() -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.files.locked(LockMode::Write, || {
            self.check(&self.files.read()?)?;
            then()
        })
    }

    /// Changes the record under the lock, provided nobody took the lease over.
    fn update(&self, change: impl FnOnce(&mut Record)) -> Result<(), StateError> {
        self.files.locked(LockMode::Write, || {
            let mut record = self.files.read()?;
            self.check(&record)?;
            change(&mut record);
            self.files.write(&record)
        })
    }

    fn check(&self, record: &Record) -> Result<(), StateError> {
        if record.fencing == self.fencing && record.holder.as_ref() == Some(&self.holder) {
            Ok(())
        } else {
            Err(StateError::LeaseLost(self.files.stack.clone()))
        }
    }

    /// Records which snapshot is the newest; call it inside [`Self::write`].
    pub(crate) fn note_serial(&self, serial: u64) -> Result<(), StateError> {
        let mut record = self.files.read()?;
        record.serial = serial;
        self.files.write(&record)
    }

    fn renew(&self) -> Result<(), StateError> {
        let expires = self.files.expiry();
        self.update(|record| record.expires = expires)
    }
}

impl Lease {
    /// Takes the lease if it is free, expired, or held by a process of this machine that is
    /// gone. `fencing_floor` finds the highest number in the other files of the stack.
    pub(crate) fn acquire(
        files: LeaseFiles,
        process: &Process,
        purpose: &str,
        fencing_floor: impl FnOnce() -> Result<u64, StateError>,
    ) -> Result<Self, StateError> {
        let (fencing, holder) = files.locked(LockMode::Write, || {
            let mut record = files.read_or_rebuild(fencing_floor)?;
            let now = files.clock.now();
            if let Some(holder) = record.holder.take()
                && record.is_live(now)
                && !process.knows_dead(&holder)
            {
                return Err(StateError::Held {
                    stack: files.stack.clone(),
                    holder: Box::new(holder),
                });
            }
            record.fencing += 1;
            record.expires = files.expiry();
            let holder = process.holder(purpose, now);
            record.holder = Some(holder.clone());
            files.write(&record)?;
            Ok((record.fencing, holder))
        })?;
        let fence = Fence {
            files,
            fencing,
            holder,
        };
        let renewal = Renewal::start(fence.clone())?;
        Ok(Self {
            fence,
            renewal: Some(renewal),
        })
    }

    /// The stack.
    pub fn stack(&self) -> &StackName {
        &self.fence.files.stack
    }

    /// Grows with each holder of the stack's lease.
    pub fn fencing(&self) -> u64 {
        self.fence.fencing
    }

    /// Extends the lease by [`LEASE_TTL`]; the thread of the lease does so by itself.
    pub fn renew(&self) -> Result<(), StateError> {
        self.fence.renew()
    }

    /// Gives the lease back. An error says that it was lost before.
    pub fn release(mut self) -> Result<(), StateError> {
        if let Some(renewal) = self.renewal.take() {
            renewal.stop();
        }
        self.fence.update(|record| record.holder = None)
    }

    pub(crate) fn fence(&self) -> &Fence {
        &self.fence
    }
}

/// Takes the lease away from whoever holds it; says who that was.
pub(crate) fn cancel(
    files: &LeaseFiles,
    fencing_floor: impl FnOnce() -> Result<u64, StateError>,
) -> Result<Option<Holder>, StateError> {
    files.locked(LockMode::Write, || {
        let mut record = files.read_or_rebuild(fencing_floor)?;
        let holder = record.holder.take();
        if holder.is_some() {
            record.fencing += 1;
            files.write(&record)?;
        }
        Ok(holder)
    })
}
