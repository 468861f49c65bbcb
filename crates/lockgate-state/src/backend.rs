//! Stacks in a folder (`file://`): `<root>/stacks/<project>/<stack>/` with `snapshot.json`, its
//! `.bak`, `journal-<run>`, `lock`, `lease` and `history/`, beside `<root>/meta`.

mod maintenance;
mod url;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_model::{Clock, Snapshot, Timestamp};
use serde::{Deserialize, Serialize};

use crate::deployment::{Locked, check_integrity};
use crate::error::StateError;
use crate::files::{
    Disk, FaultHook, META, SNAPSHOT, STACK_PUBLISH, STACK_REMOVE, read_optional, rename,
};
use crate::history::{self, HistoryEntry, HistoryPage};
use crate::journal::{StackJournal, read_journal};
use crate::lease::{self, Holder, Lease, LockMode, Process};
use crate::name::{StackName, decode_folder, encode_folder};
use crate::secrets::{Keyring, SecretsError, SecretsManager};
use crate::snapshot::{
    STATE_BYTES_MAX, StackFolder, Stored, commit_snapshot, decode_snapshot, encode_snapshot,
    read_snapshot,
};

pub use maintenance::{ForeignUrns, Repair};
pub use url::parse_backend_url;

/// The layout of folders written and the newest one read.
const LAYOUT: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Meta {
    format: u64,
}

/// What the folder says of itself.
#[derive(PartialEq, Eq)]
enum Layout {
    Missing,
    Known,
}

/// Keeps stacks in a local folder. Its functions block on the disk.
pub struct Backend {
    root: PathBuf,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    process: Process,
    disk: Disk,
}

/// A stack that was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// Its state, checked.
    pub snapshot: Arc<Snapshot>,
    /// Encrypts its secrets.
    pub secrets: SecretsManager,
    /// Present when a journal was replayed. Under the lease it was left by a run that died;
    /// without, it may belong to one that is under way.
    pub recovered: Option<Recovery>,
}

/// What a journal added to the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Fencing number of the run that wrote it.
    pub fencing: u64,
    /// Entries replayed.
    pub entries: usize,
    /// Bytes at its end that were never acknowledged, and were left out.
    pub torn_bytes: u64,
}

/// One line of a list of stacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackSummary {
    /// The stack.
    pub name: StackName,
    /// When its snapshot was last written, if there is one.
    pub updated: Option<Timestamp>,
    /// Who works on it.
    pub holder: Option<Holder>,
}

/// Whether a stack that still has resources may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveMode {
    /// Only an empty one.
    Empty,
    /// Resources are forgotten; they go on existing.
    Force,
}

/// A snapshot with its journal replayed, and the files that went into it.
struct Current {
    stored: Stored,
    recovered: Option<Recovery>,
}

impl Backend {
    /// Opens the folder; it is made with the first stack. One of a newer version is refused.
    pub fn open(
        root: &Path,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StateError> {
        let backend = Self {
            root: root.to_owned(),
            keyring,
            clock,
            process: Process::current(),
            disk: Disk::default(),
        };
        backend.check_layout()?;
        Ok(backend)
    }

    /// Calls `hook` at every fault point from now on; for crash tests.
    #[must_use]
    pub fn with_fault_hook(mut self, hook: Option<FaultHook>) -> Self {
        self.disk = Disk::new(hook);
        self
    }

    fn check_layout(&self) -> Result<Layout, StateError> {
        let path = self.root.join("meta");
        let Some(bytes) = read_optional(&path, 4096)? else {
            return Ok(Layout::Missing);
        };
        let meta: Meta = serde_json::from_slice(&bytes).map_err(|_| StateError::Damaged {
            path: path.clone(),
            what: "it does not name the format of the folder".to_owned(),
        })?;
        if meta.format > LAYOUT {
            return Err(StateError::Newer {
                path,
                found: meta.format,
                known: LAYOUT,
            });
        }
        Ok(Layout::Known)
    }

    fn write_layout(&self) -> Result<(), StateError> {
        self.disk.create_folder(&self.root)?;
        let text = format!("{{\"format\":{LAYOUT}}}\n");
        self.disk
            .write_file(&META, &self.root.join("meta"), text.as_bytes())
    }

    fn project_path(&self, project: &str) -> PathBuf {
        self.root.join("stacks").join(encode_folder(project))
    }

    fn folder(&self, stack: &StackName) -> StackFolder {
        StackFolder {
            stack: stack.clone(),
            path: self
                .project_path(stack.project())
                .join(encode_folder(stack.stack())),
            disk: self.disk.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Opens secrets managers.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Whether the stack exists.
    pub fn exists(&self, stack: &StackName) -> bool {
        self.folder(stack).path.is_dir()
    }

    /// The stacks of a project, or of all, by name.
    pub fn list_stacks(&self, project: Option<&str>) -> Result<Vec<StackSummary>, StateError> {
        let projects = match project {
            Some(project) => vec![project.to_owned()],
            None => list_names(&self.root.join("stacks"))?,
        };
        let mut stacks = Vec::new();
        for project in projects {
            for stack in list_names(&self.project_path(&project))? {
                let name = StackName::new(&project, &stack)?;
                let folder = self.folder(&name);
                stacks.push(StackSummary {
                    updated: modified(&folder.snapshot()),
                    holder: self.holder(&name)?,
                    name,
                });
            }
        }
        Ok(stacks)
    }

    /// Makes an empty stack whose secrets `secrets` encrypts.
    pub fn create_stack(
        &self,
        stack: &StackName,
        secrets: &SecretsManager,
    ) -> Result<(), StateError> {
        self.publish_stack(stack, secrets, &Snapshot::default(), None)
    }

    /// Makes a stack with this state, whole or not at all. `history` is a folder to copy.
    fn publish_stack(
        &self,
        stack: &StackName,
        secrets: &SecretsManager,
        snapshot: &Snapshot,
        history: Option<&Path>,
    ) -> Result<(), StateError> {
        if self.check_layout()? == Layout::Missing {
            self.write_layout()?;
        }
        let project = self.project_path(stack.project());
        self.disk.create_folder(&project)?;
        // Made beside and renamed, so that a stack exists whole or not at all. The process id
        // keeps two makers apart; the rename lets one of them win.
        let making = project.join(format!(".new-{}-{}", stack.stack(), std::process::id()));
        remove_tree(&making)?;
        self.disk.create_folder(&making)?;
        let clock = self.clock.as_ref();
        let path = making.join("snapshot.json");
        self.disk
            .prepare_file(&SNAPSHOT, &path, 0, |out| {
                encode_snapshot(out, snapshot, secrets, 1, 0, clock).map(|_| ())
            })?
            .publish(&self.disk, &SNAPSHOT)?;
        crate::files::create_new(&making.join("lock"))?;
        if let Some(history) = history {
            history::copy_all(&self.disk, history, &making.join("history"))?;
        }
        self.disk.sync_folder(&making)?;
        let folder = self.folder(stack);
        // A rename onto a folder that is not empty fails, and a stack's folder never is.
        let published = self
            .disk
            .at(&STACK_PUBLISH, || fs_err::rename(&making, &folder.path));
        if let Err(error) = published {
            remove_tree(&making)?;
            return Err(if folder.path.is_dir() {
                StateError::StackExists(stack.clone())
            } else {
                StateError::io("create", &folder.path)(error)
            });
        }
        self.disk.sync_folder(&project)
    }

    /// Removes a stack with its history. The lease goes with it; a refusal gives it back.
    pub fn remove_stack(&self, lease: Lease, mode: RemoveMode) -> Result<(), StateError> {
        let stack = lease.stack().clone();
        let folder = self.folder(&stack);
        if mode == RemoveMode::Empty {
            let resources = self.load(&stack)?.snapshot.resources.len();
            if resources > 0 {
                lease.release()?;
                return Err(StateError::NotEmpty { stack, resources });
            }
        }
        let project = self.project_path(stack.project());
        let removed = project.join(format!(".removed-{}-{}", stack.stack(), lease.fencing()));
        remove_tree(&removed)?;
        lease.fence().write(|| {
            self.disk
                .at(&STACK_REMOVE, || rename(&folder.path, &removed))?;
            self.disk.sync_folder(&project)
        })?;
        remove_tree(&removed)
    }

    /// Who holds the lease of the stack, if anybody does.
    pub fn holder(&self, stack: &StackName) -> Result<Option<Holder>, StateError> {
        let record = self.folder(stack).lease_files().look()?;
        let live = record.is_live(self.clock.now());
        Ok(record.holder.filter(|_| live))
    }

    /// Takes the lease of the stack. `purpose` is shown to those who want it meanwhile.
    pub fn acquire(&self, stack: &StackName, purpose: &str) -> Result<Lease, StateError> {
        let folder = self.folder(stack);
        let floor = || folder.fencing_floor();
        Lease::acquire(folder.lease_files(), &self.process, purpose, floor)
    }

    /// Takes the lease away from its holder, who can write nothing more; says who it was.
    pub fn cancel(&self, stack: &StackName) -> Result<Option<Holder>, StateError> {
        let folder = self.folder(stack);
        lease::cancel(&folder.lease_files(), || folder.fencing_floor())
    }

    /// The current state of a stack. Changes nothing.
    pub fn load(&self, stack: &StackName) -> Result<Loaded, StateError> {
        let current = self.load_current(&self.folder(stack))?;
        Ok(Loaded {
            snapshot: current.stored.snapshot,
            secrets: current.stored.secrets,
            recovered: current.recovered,
        })
    }

    /// The state after the last whole run of a stack that another one refers to. Secrets that
    /// cannot be opened are [`Unknown`](lockgate_model::Value::Unknown) inside their `Secret`,
    /// and the reason is given: the other stack may have another passphrase.
    pub fn load_referenced(
        &self,
        stack: &StackName,
    ) -> Result<(Arc<Snapshot>, Option<SecretsError>), StateError> {
        let folder = self.folder(stack);
        let path = folder.snapshot();
        // The file is replaced whole, so reading it needs no lock.
        let bytes = read_snapshot(&path)?.ok_or_else(|| StateError::NoStack(stack.clone()))?;
        let stored = decode_snapshot(&path, &bytes, &self.keyring, Locked::Unknown)?;
        Ok((stored.snapshot, stored.locked))
    }

    /// Loads the stack under its lease, folds what a dead run left into the snapshot, and opens
    /// the journal of a new run.
    pub fn start_run(&self, lease: &Lease) -> Result<(Loaded, StackJournal), StateError> {
        let folder = self.folder(lease.stack());
        let fence = lease.fence();
        let Current {
            mut stored,
            recovered,
        } = self.load_current(&folder)?;
        if recovered.is_some() {
            let serial = stored.mark.serial + 1;
            stored.mark =
                commit_snapshot(&folder, fence, &stored.snapshot, &stored.secrets, serial)?;
        } else {
            // What is left is part of the snapshot already, or never held anything.
            fence.write(|| crate::snapshot::remove_journals(&folder))?;
        }
        let loaded = Loaded {
            snapshot: Arc::clone(&stored.snapshot),
            secrets: stored.secrets.clone(),
            recovered,
        };
        let journal = StackJournal::start(folder, fence.clone(), stored)?;
        Ok((loaded, journal))
    }

    fn load_current(&self, folder: &StackFolder) -> Result<Current, StateError> {
        let path = folder.snapshot();
        let files = folder.lease_files();
        // Read together under the lock, so that no compaction falls in between.
        let (bytes, journals, newest) = files.locked(LockMode::Read, || {
            let mut journals = Vec::new();
            for (fencing, path) in folder.list_journals()? {
                if let Some(bytes) = read_optional(&path, STATE_BYTES_MAX)? {
                    journals.push((fencing, path, bytes));
                }
            }
            Ok((read_snapshot(&path)?, journals, files.look()?.serial))
        })?;
        let bytes = bytes.ok_or_else(|| StateError::Damaged {
            path: path.clone(),
            what: "it is missing".to_owned(),
        })?;
        let mut stored = decode_snapshot(&path, &bytes, &self.keyring, Locked::Refuse)?;
        drop(bytes);
        if stored.mark.serial < newest {
            return Err(StateError::Damaged {
                path,
                what: format!(
                    "it is snapshot {} of the stack, the newest one was {newest}",
                    stored.mark.serial
                ),
            });
        }
        let mut recovered = None;
        for (fencing, path, bytes) in journals {
            let Some(journal) =
                read_journal(&path, &bytes, fencing, &stored.mark, &stored.secrets)?
            else {
                continue;
            };
            if recovered.is_some() {
                return Err(StateError::Damaged {
                    path,
                    what: "it is the second journal of one snapshot".to_owned(),
                });
            }
            stored.snapshot = Arc::new(self.replay(folder, &stored.snapshot, &journal.entries)?);
            recovered = Some(Recovery {
                fencing,
                entries: journal.entries.len(),
                torn_bytes: journal.torn_bytes,
            });
        }
        Ok(Current { stored, recovered })
    }

    fn replay(
        &self,
        folder: &StackFolder,
        base: &Snapshot,
        entries: &[lockgate_model::JournalEntry],
    ) -> Result<Snapshot, StateError> {
        let snapshot = lockgate_engine::journal::replay(base, entries).map_err(|source| {
            StateError::Replay {
                stack: folder.stack.clone(),
                source: Box::new(source),
            }
        })?;
        check_integrity(&snapshot)?;
        Ok(snapshot)
    }

    /// The number for the next history entry. Ask under the lease.
    pub fn next_history_version(&self, stack: &StackName) -> Result<u64, StateError> {
        let versions = history::list_versions(&self.folder(stack))?;
        Ok(versions.last().map_or(1, |last| last + 1))
    }

    /// Writes a history entry; one with the same version is replaced, so that a run can be
    /// written when it starts and again when it ends.
    pub fn save_history(&self, lease: &Lease, entry: &HistoryEntry) -> Result<(), StateError> {
        history::save_entry(&self.folder(lease.stack()), lease.fence(), entry)
    }

    /// Up to `limit` runs with a version below `before`, newest first.
    pub fn history(
        &self,
        stack: &StackName,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, StateError> {
        history::load_page(&self.folder(stack), before, limit)
    }

    /// One run; `None` when there is none of this number.
    pub fn find_history(
        &self,
        stack: &StackName,
        version: u64,
    ) -> Result<Option<HistoryEntry>, StateError> {
        history::find_entry(&self.folder(stack), version)
    }
}

/// The names behind the folders in `path`, in order; none when it does not exist.
fn list_names(path: &Path) -> Result<Vec<String>, StateError> {
    let entries = match fs_err::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StateError::io("list", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StateError::io("list", path))?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().to_str().and_then(decode_folder));
        }
    }
    names.sort();
    Ok(names)
}

fn modified(path: &Path) -> Option<Timestamp> {
    let since = fs_err::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    i64::try_from(since.as_nanos()).ok().map(Timestamp)
}

fn remove_tree(path: &Path) -> Result<(), StateError> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
