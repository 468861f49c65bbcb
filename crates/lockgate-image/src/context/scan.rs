//! Lists a context in parallel, once, without opening a file.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use parking_lot::{Condvar, Mutex};

use super::{Context, ContextFile, Entry, EntryKind, FileContent, Folder, Stat, Tree, join};
use crate::ignore::{Ignore, Matched};
use crate::rootfs::Owner;

/// Most entries of a context.
const ENTRIES_MAX: usize = 4_000_000;
/// Deepest folder.
const DEPTH_MAX: usize = 256;

/// Which folders are listed: those on the way to a needed path, and everything below one.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    Everything,
    /// Cleaned paths without patterns; an empty one means everything.
    Paths(Vec<Vec<u8>>),
}

impl Scope {
    fn wants(&self, folder: &[u8]) -> bool {
        let Self::Paths(paths) = self else {
            return true;
        };
        let below = |path: &[u8], folder: &[u8]| {
            folder.is_empty()
                || path == folder
                || (path.starts_with(folder) && path.get(folder.len()) == Some(&b'/'))
        };
        paths
            .iter()
            .any(|path| below(path, folder) || below(folder, path))
    }
}

/// Why a context cannot be scanned at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "the context has more than {ENTRIES_MAX} entries; exclude what is not copied in .dockerignore"
    )]
    TooMany,
    #[error(
        "the path `{0}` of a context file is not relative, leaves the context or is given twice"
    )]
    BadPath(String),
}

/// Scans `context`; excluded folders are skipped where nothing below can be included again.
pub(crate) fn scan(context: &Context, ignore: &Ignore, scope: &Scope) -> Result<Tree, ScanError> {
    match context {
        Context::Folder(root) => scan_folder(root, ignore, scope),
        Context::Files(files) => scan_files(files, ignore),
    }
}

struct Job {
    index: u32,
    path: Vec<u8>,
    depth: usize,
    matched: Matched,
}

struct Queue {
    jobs: Vec<Job>,
    /// Jobs queued or being worked on; the scan ends at zero.
    open: usize,
    folders: u32,
    entries: usize,
    failed: bool,
}

struct Scanner<'a> {
    root: &'a Path,
    ignore: &'a Ignore,
    scope: &'a Scope,
    /// Held for a push or a pop only, never while a folder is read.
    queue: Mutex<Queue>,
    wake: Condvar,
}

fn scan_folder(root: &Path, ignore: &Ignore, scope: &Scope) -> Result<Tree, ScanError> {
    if !fs::metadata(root)?.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} is not a folder", root.display()),
        )
        .into());
    }
    let scanner = Scanner {
        root,
        ignore,
        scope,
        queue: Mutex::new(Queue {
            jobs: vec![Job {
                index: 0,
                path: Vec::new(),
                depth: 0,
                matched: Matched::default(),
            }],
            open: 1,
            folders: 1,
            entries: 0,
            failed: false,
        }),
        wake: Condvar::new(),
    };
    let results: Vec<Vec<(u32, Folder)>> = std::thread::scope(|threads| {
        let workers: Vec<_> = (0..worker_count())
            .map(|_| threads.spawn(|| scanner.work()))
            .collect();
        workers
            .into_iter()
            .map(|w| w.join().unwrap_or_default())
            .collect()
    });
    let queue = scanner.queue.into_inner();
    if queue.failed {
        return Err(ScanError::TooMany);
    }
    let mut folders: Vec<Folder> = (0..queue.folders).map(|_| Folder::default()).collect();
    for (index, folder) in results.into_iter().flatten() {
        folders[index as usize] = folder;
    }
    Ok(Tree {
        root: Some(root.to_owned()),
        folders,
    })
}

/// Threads for scanning and hashing: the disk, not the processor, is the limit beyond a few.
pub(super) fn worker_count() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(8)
}

impl Scanner<'_> {
    fn work(&self) -> Vec<(u32, Folder)> {
        let mut done = Vec::new();
        while let Some(job) = self.next() {
            let index = job.index;
            let (folder, below) = self.list(job);
            let mut queue = self.queue.lock();
            queue.entries += folder.entries.len();
            queue.failed |= queue.entries > ENTRIES_MAX;
            queue.open += below.len();
            queue.open -= 1;
            queue.jobs.extend(below);
            drop(queue);
            self.wake.notify_all();
            done.push((index, folder));
        }
        done
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if queue.failed || queue.open == 0 {
                return None;
            }
            if let Some(job) = queue.jobs.pop() {
                return Some(job);
            }
            self.wake.wait(&mut queue);
        }
    }

    fn list(&self, job: Job) -> (Folder, Vec<Job>) {
        let mut folder = Folder {
            path: job.path,
            ..Folder::default()
        };
        if !self.scope.wants(&folder.path) {
            folder.skipped = true;
            return (folder, Vec::new());
        }
        let full = self.root.join(std::ffi::OsStr::from_bytes(&folder.path));
        let mut below = Vec::new();
        let result = self.list_into(&full, &mut folder, job.depth, &job.matched, &mut below);
        folder.error = result.err();
        folder.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        (folder, below)
    }

    fn list_into(
        &self,
        full: &Path,
        folder: &mut Folder,
        depth: usize,
        matched: &Matched,
        below: &mut Vec<Job>,
    ) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other(format!(
                "{} is nested too deep",
                full.display()
            )));
        }
        for entry in fs::read_dir(full)? {
            let entry = entry?;
            let name = entry.file_name().into_vec().into_boxed_slice();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let path = join(&folder.path, &name);
                let (excluded, matched) = self.ignore.matches(&path, matched);
                if excluded && !self.ignore.may_include_below(&path) {
                    continue;
                }
                let mut queue = self.queue.lock();
                let index = queue.folders;
                queue.folders += 1;
                drop(queue);
                below.push(Job {
                    index,
                    path,
                    depth: depth + 1,
                    matched,
                });
                folder.entries.push(Entry {
                    name,
                    kind: EntryKind::Folder(index),
                    excluded,
                    owner: Owner::default(),
                });
                continue;
            }
            if !self.ignore.is_empty() && self.ignore.excludes(&join(&folder.path, &name), matched)
            {
                continue;
            }
            let kind = if kind.is_file() {
                match entry.metadata() {
                    Ok(metadata) if metadata.is_file() => EntryKind::File(Stat::of(&metadata)),
                    // Gone or replaced since it was listed: the next build sees what it is.
                    Ok(_) => continue,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                }
            } else if kind.is_symlink() {
                EntryKind::Symlink(
                    fs::read_link(entry.path())?
                        .into_os_string()
                        .into_vec()
                        .into_boxed_slice(),
                )
            } else {
                use std::os::unix::fs::FileTypeExt as _;
                EntryKind::Special {
                    device: kind.is_block_device() || kind.is_char_device(),
                }
            };
            folder.entries.push(Entry {
                name,
                kind,
                excluded: false,
                owner: Owner::default(),
            });
        }
        Ok(())
    }
}

/// A tree level of [`Context::Files`] while it is put together.
#[derive(Default)]
struct Level {
    folders: BTreeMap<Vec<u8>, Level>,
    files: BTreeMap<Vec<u8>, ContextFile>,
}

fn scan_files(files: &[ContextFile], ignore: &Ignore) -> Result<Tree, ScanError> {
    if files.len() > ENTRIES_MAX {
        return Err(ScanError::TooMany);
    }
    let mut top = Level::default();
    for file in files {
        let bad = || ScanError::BadPath(file.path.clone());
        let path = crate::tar::clean_path(file.path.as_bytes())
            .filter(|p| !p.is_empty() && !file.path.starts_with('/'))
            .ok_or_else(bad)?;
        let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        if parts.len() > DEPTH_MAX {
            return Err(bad());
        }
        let (name, folders) = parts.split_last().ok_or_else(bad)?;
        let mut level = &mut top;
        for folder in folders {
            if level.files.contains_key(*folder) {
                return Err(bad());
            }
            level = level.folders.entry(folder.to_vec()).or_default();
        }
        if level.folders.contains_key(*name)
            || level.files.insert(name.to_vec(), file.clone()).is_some()
        {
            return Err(bad());
        }
    }
    let mut tree = Tree {
        root: None,
        folders: vec![Folder::default()],
    };
    place(&mut tree, 0, top, ignore, &Matched::default())?;
    Ok(tree)
}

fn place(
    tree: &mut Tree,
    index: usize,
    level: Level,
    ignore: &Ignore,
    matched: &Matched,
) -> Result<(), ScanError> {
    let here = tree.folders[index].path.clone();
    let mut entries = Vec::new();
    for (name, below) in level.folders {
        let path = join(&here, &name);
        let (excluded, matched) = ignore.matches(&path, matched);
        let child = tree.folders.len();
        tree.folders.push(Folder {
            path,
            ..Folder::default()
        });
        place(tree, child, below, ignore, &matched)?;
        let kind = EntryKind::Folder(u32::try_from(child).map_err(|_| ScanError::TooMany)?);
        entries.push(Entry {
            name: name.into(),
            kind,
            excluded,
            owner: Owner::default(),
        });
    }
    for (name, file) in level.files {
        if ignore.excludes(&join(&here, &name), matched) {
            continue;
        }
        let size = match &file.content {
            FileContent::Bytes(bytes) => bytes.len() as u64,
            FileContent::Path(path) => regular_size(path)?,
        };
        let kind = EntryKind::Given {
            content: file.content,
            executable: file.executable,
            size,
        };
        entries.push(Entry {
            name: name.into(),
            kind,
            excluded: false,
            owner: Owner::default(),
        });
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    tree.folders[index].entries = entries;
    Ok(())
}

fn regular_size(path: &PathBuf) -> io::Result<u64> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(io::Error::other(format!(
            "{} is not a file",
            path.display()
        )))
    }
}
