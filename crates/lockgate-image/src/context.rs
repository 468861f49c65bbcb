//! The build context: a folder or a list of files, scanned once into a tree of metadata.
//!
//! In: a [`Context`] and the ignore rules. Out: a [`Tree`], from which `select` picks what COPY
//! takes and `hash` computes content hashes with the help of the stat cache.

mod hash;
mod scan;
mod select;
mod stat_cache;

use std::path::PathBuf;
use std::sync::Arc;

use crate::rootfs::Owner;

pub(crate) use hash::{ContentHash, HashError, hash_files, open_file};
pub(crate) use scan::{ScanError, Scope, scan};
pub(crate) use select::{Item, ItemKind, Request, SelectError, Selected, select, static_prefix};
pub(crate) use stat_cache::coarse_now;

/// Where the files of a build come from.
#[derive(Clone, Debug)]
pub enum Context {
    /// A folder on disk.
    Folder(PathBuf),
    /// Exactly these files, for example the assets another resource produced.
    Files(Vec<ContextFile>),
}

/// One file of [`Context::Files`].
#[derive(Clone, Debug)]
pub struct ContextFile {
    /// Path in the context, `/` separated, relative.
    pub path: String,
    /// Its bytes.
    pub content: FileContent,
    /// Whether it gets mode 0755 instead of 0644.
    pub executable: bool,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub enum FileContent {
    /// In a file on disk.
    Path(PathBuf),
    /// In memory.
    Bytes(Arc<[u8]>),
}

/// Metadata of a context. Folders refer to each other by index; the root is 0.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) root: Option<PathBuf>,
    pub(crate) folders: Vec<Folder>,
}

#[derive(Debug)]
pub(crate) struct Folder {
    /// Path from the root of the context, empty for the root.
    pub(crate) path: Vec<u8>,
    /// Sorted by name.
    pub(crate) entries: Vec<Entry>,
    /// Why it could not be listed; matters only if something in it is copied.
    pub(crate) error: Option<std::io::Error>,
    /// Not listed, because no COPY seemed to need it.
    pub(crate) skipped: bool,
    /// Permission bits it gets in an image: normalised for contexts, as they are for stages.
    pub(crate) mode: u32,
    /// Owner it gets in an image: root for contexts, as it is for stages.
    pub(crate) owner: Owner,
}

impl Default for Folder {
    fn default() -> Self {
        Self {
            path: Vec::new(),
            entries: Vec::new(),
            error: None,
            skipped: false,
            mode: 0o755,
            owner: Owner::default(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Box<[u8]>,
    pub(crate) kind: EntryKind,
    /// Matched by the ignore rules; a folder may still hold something included.
    pub(crate) excluded: bool,
    /// As [`Folder::owner`], of what is no folder.
    pub(crate) owner: Owner,
}

#[derive(Debug)]
pub(crate) enum EntryKind {
    Folder(u32),
    File(Stat),
    /// A file of [`Context::Files`].
    Given {
        content: FileContent,
        executable: bool,
        size: u64,
    },
    /// A file of an image: the member `path` of layer number `layer`.
    Layered {
        layer: u32,
        path: Box<[u8]>,
        size: u64,
        mode: u32,
    },
    Symlink(Box<[u8]>),
    /// A device, and whether it is one (sockets and pipes are skipped).
    Special {
        device: bool,
    },
}

impl EntryKind {
    /// Permission bits in an image: 0644, or 0755 for what its owner may execute; files of
    /// images keep theirs.
    pub(crate) fn image_mode(&self) -> u32 {
        let executable = match self {
            Self::Layered { mode, .. } => return *mode,
            Self::File(stat) => stat.executable(),
            Self::Given { executable, .. } => *executable,
            Self::Folder(_) | Self::Symlink(_) | Self::Special { .. } => false,
        };
        if executable { 0o755 } else { 0o644 }
    }
}

/// What identifies a version of a file on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) dev: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) ctime_ns: i64,
    pub(crate) mode: u32,
}

impl Stat {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let nanos =
            |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            dev: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime_ns: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanos(metadata.ctime(), metadata.ctime_nsec()),
            mode: metadata.mode(),
        }
    }

    pub(crate) fn executable(&self) -> bool {
        self.mode & 0o100 != 0
    }
}

/// A file in a [`Tree`]: folder and entry index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileRef {
    pub(crate) folder: u32,
    pub(crate) entry: u32,
}

impl Tree {
    pub(crate) fn folder(&self, index: u32) -> &Folder {
        &self.folders[index as usize]
    }

    pub(crate) fn entry(&self, file: FileRef) -> &Entry {
        &self.folder(file.folder).entries[file.entry as usize]
    }

    pub(crate) fn path(&self, file: FileRef) -> Vec<u8> {
        join(&self.folder(file.folder).path, &self.entry(file).name)
    }
}

/// `folder/name`, or `name` in the root.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        name.to_vec()
    } else {
        [folder, b"/", name].concat()
    }
}

/// A path for people.
pub(crate) fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests;
