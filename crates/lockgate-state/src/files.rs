//! The one place that writes files: temporary file, fsync, rename, fsync of the folder.
//!
//! Every effect is announced to a [`FaultHook`] before and after, under a name of
//! [`FAULT_POINTS`], so that a crash test can kill the process between any two of them.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

use crate::error::StateError;

/// Called at every fault point with its name.
pub type FaultHook = Arc<dyn Fn(&'static str) + Send + Sync>;

/// The fault points of a file that is replaced whole: before and after each effect.
#[derive(Debug)]
pub(crate) struct ReplacePoints {
    write: [&'static str; 2],
    fsync: [&'static str; 2],
    rename: [&'static str; 2],
    folder: [&'static str; 2],
}

macro_rules! pair {
    ($name:expr) => {
        [concat!($name, ".before"), concat!($name, ".after")]
    };
}

/// Declares the fault points, so that the list of all of them cannot lag behind.
macro_rules! fault_points {
    (replaced { $($file:ident = $name:literal,)* } single { $($point:ident = $single:literal,)* }) => {
        $(pub(crate) const $file: ReplacePoints = ReplacePoints {
            write: pair!(concat!($name, ".write")),
            fsync: pair!(concat!($name, ".fsync")),
            rename: pair!(concat!($name, ".rename")),
            folder: pair!(concat!($name, ".folder-fsync")),
        };)*
        $(pub(crate) const $point: [&str; 2] = pair!($single);)*
        /// Every fault point, in no particular order.
        pub const FAULT_POINTS: &[&str] = &[
            $(concat!($name, ".write.before"), concat!($name, ".write.after"),
              concat!($name, ".fsync.before"), concat!($name, ".fsync.after"),
              concat!($name, ".rename.before"), concat!($name, ".rename.after"),
              concat!($name, ".folder-fsync.before"), concat!($name, ".folder-fsync.after"),)*
            $(concat!($single, ".before"), concat!($single, ".after"),)*
        ];
    };
}

fault_points! {
    replaced {
        META = "meta",
        KEY = "key",
        SNAPSHOT = "snapshot",
        LEASE = "lease",
        HISTORY = "history",
    }
    single {
        BACKUP_LINK = "backup.link",
        BACKUP_RENAME = "backup.rename",
        STACK_PUBLISH = "stack.publish",
        STACK_REMOVE = "stack.remove",
        LEASE_LOCK = "lease.lock",
        JOURNAL_CREATE = "journal.create",
        JOURNAL_WRITE = "journal.write",
        JOURNAL_FSYNC = "journal.fsync",
        JOURNAL_REMOVE = "journal.remove",
    }
}

/// Writes to disk, announcing each effect.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    hook: Option<FaultHook>,
}

/// Only the owner reads state: it names every resource, and keys lie beside it.
const FILE_MODE: u32 = 0o600;
/// As [`FILE_MODE`], for folders.
const FOLDER_MODE: u32 = 0o700;

impl Disk {
    pub(crate) fn new(hook: Option<FaultHook>) -> Self {
        Self { hook }
    }

    /// Runs one effect between its two fault points.
    pub(crate) fn at<T>(&self, points: &[&'static str; 2], effect: impl FnOnce() -> T) -> T {
        self.announce(points[0]);
        let result = effect();
        self.announce(points[1]);
        result
    }

    fn announce(&self, point: &'static str) {
        if let Some(hook) = &self.hook {
            hook(point);
        }
    }

    /// Makes a folder and those above it, readable by the owner only, durably.
    pub(crate) fn create_folder(&self, path: &Path) -> Result<(), StateError> {
        use std::os::unix::fs::DirBuilderExt;
        if path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        if let Some(parent) = parent {
            self.create_folder(parent)?;
        }
        match std::fs::DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(StateError::io("create folder", path)(error));
            }
            _ => {}
        }
        self.sync_folder(parent.unwrap_or(Path::new(".")))
    }

    /// Replaces a small file, durably. Two writers of one file hold its lock or are processes
    /// of their own.
    pub(crate) fn write_file(
        &self,
        points: &ReplacePoints,
        path: &Path,
        bytes: &[u8],
    ) -> Result<(), StateError> {
        let writer = u64::from(std::process::id());
        let prepared = self.prepare_file(points, path, writer, |out| {
            out.write_all(bytes).map_err(StateError::io("write", path))
        })?;
        prepared.publish(self, points)
    }

    /// Writes the new content of `path` beside it, durably; [`PreparedFile::publish`] puts it in
    /// place. `writer` keeps apart those who may prepare the same file at once, such as a
    /// stopped holder of a lease and its successor.
    pub(crate) fn prepare_file(
        &self,
        points: &ReplacePoints,
        path: &Path,
        writer: u64,
        write: impl FnOnce(&mut dyn Write) -> Result<(), StateError>,
    ) -> Result<PreparedFile, StateError> {
        let temporary = temporary_path(path, writer);
        // Never written over: an earlier writer may still have it open.
        remove_if_exists(&temporary)?;
        let file = self.at(&points.write, || {
            let mut out = BufWriter::with_capacity(256 * 1024, create_new(&temporary)?);
            write(&mut out)?;
            out.into_inner()
                .map_err(|error| StateError::io("write", path)(error.into_error()))
        })?;
        self.at(&points.fsync, || file.sync_all())
            .map_err(StateError::io("fsync", path))?;
        Ok(PreparedFile {
            temporary,
            path: path.to_owned(),
        })
    }

    /// Makes names in `folder` durable.
    pub(crate) fn sync_folder(&self, folder: &Path) -> Result<(), StateError> {
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(StateError::io("fsync folder", folder))
    }

    /// Keeps the current content of `path` as `backup`, durably with the next folder fsync.
    pub(crate) fn keep_backup(&self, path: &Path, backup: &Path) -> Result<(), StateError> {
        let temporary = temporary_path(backup, 0);
        remove_if_exists(&temporary)?;
        let linked = self.at(&BACKUP_LINK, || fs::hard_link(path, &temporary));
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            // Some file systems have no hard links; a copy does as well, only slower.
            Err(_) => {
                fs::copy(path, &temporary).map_err(StateError::io("copy", path))?;
            }
        }
        self.at(&BACKUP_RENAME, || rename(&temporary, backup))
    }
}

/// A file whose new content waits beside it.
pub(crate) struct PreparedFile {
    temporary: PathBuf,
    path: PathBuf,
}

impl PreparedFile {
    /// Puts the content in place and makes that durable.
    pub(crate) fn publish(self, disk: &Disk, points: &ReplacePoints) -> Result<(), StateError> {
        disk.at(&points.rename, || rename(&self.temporary, &self.path))?;
        match self.path.parent() {
            Some(folder) => disk.at(&points.folder, || disk.sync_folder(folder)),
            None => Ok(()),
        }
    }

    /// Removes the content that will not be used.
    pub(crate) fn discard(self) -> Result<(), StateError> {
        remove_if_exists(&self.temporary)
    }
}

/// The ending of files whose writer has not finished, or died before it did.
pub(crate) const TEMPORARY: &str = ".tmp";

/// The name beside `path` under which `writer` prepares its next content.
fn temporary_path(path: &Path, writer: u64) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{writer}{TEMPORARY}"));
    path.with_file_name(name)
}

/// Opens a new file for appending; it must not exist.
pub(crate) fn create_new(path: &Path) -> Result<fs::File, StateError> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create_new(true).mode(FILE_MODE);
    options.open(path).map_err(StateError::io("create", path))
}

/// Renames over an existing file.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StateError> {
    fs::rename(from, to).map_err(StateError::io("rename to", to))
}

/// Removes a file; one that is missing is as good.
pub(crate) fn remove_if_exists(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// The whole of a file up to `limit` bytes; `None` when it does not exist.
pub(crate) fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StateError> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::io("read", path)(error)),
    };
    if length > limit {
        return Err(StateError::Damaged {
            path: path.to_owned(),
            what: format!("it has {length} bytes, more than the limit of {limit}"),
        });
    }
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::io("read", path)(error)),
    }
}
