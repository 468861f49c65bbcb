//! Content hashes of context files, in parallel, through the stat cache.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err as fs;

use super::scan::worker_count;
use super::stat_cache::{Learned, StatCache, path_hash};
use super::{EntryKind, FileContent, FileRef, Stat, Tree, show};

/// BLAKE3 of a file's content.
pub(crate) type ContentHash = [u8; 32];

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;
/// Files a worker takes at a time: few enough to balance, enough not to contend.
const BATCH: usize = 256;

/// Why a file has no hash.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("read `{path}`")]
    Unreadable {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` changes while it is read")]
    Changing { path: String },
}

/// Hashes `files` in order. `stamp` was taken before the scan started. With `verify` the cache is
/// written but not trusted.
pub(crate) fn hash_files(
    tree: &Tree,
    files: &[FileRef],
    cache_folder: &Path,
    stamp: i64,
    verify: bool,
) -> Result<Vec<ContentHash>, HashError> {
    let cache = StatCache::open(cache_folder, tree, stamp);
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Vec<Learned>, usize)>, HashError> {
        let mut batches = Vec::new();
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            if start >= files.len() {
                return Ok(batches);
            }
            let (mut learned, mut read) = (Vec::with_capacity(BATCH), 0);
            for file in &files[start..files.len().min(start + BATCH)] {
                let (one, was_read) = hash_one(tree, *file, (!verify).then_some(&cache))?;
                read += usize::from(was_read);
                learned.push(one);
            }
            batches.push((start, learned, read));
        }
    };
    let mut batches = std::thread::scope(|threads| {
        let count = if files.len() > BATCH {
            worker_count()
        } else {
            1
        };
        let workers: Vec<_> = (0..count).map(|_| threads.spawn(work)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            );
        }
        Ok(all)
    })?;
    batches.sort_unstable_by_key(|(start, _, _)| *start);
    let read: usize = batches.iter().map(|(_, _, read)| read).sum();
    let learned: Vec<Learned> = batches
        .into_iter()
        .flat_map(|(_, learned, _)| learned)
        .collect();
    if read > 0 {
        // A cache that cannot be written costs time, not truth.
        let _ = cache.save(&learned, stamp);
    }
    Ok(learned.into_iter().map(|l| l.hash).collect())
}

/// The hash of one file, and whether it was read.
fn hash_one(
    tree: &Tree,
    file: FileRef,
    cache: Option<&StatCache>,
) -> Result<(Learned, bool), HashError> {
    let path = tree.path(file);
    let unreadable = |source| HashError::Unreadable {
        path: show(&path),
        source,
    };
    let key = path_hash(&path);
    match &tree.entry(file).kind {
        EntryKind::File(stat) => {
            if let Some(hash) = cache.and_then(|c| c.find(key, stat)) {
                return Ok((
                    Learned {
                        path_hash: key,
                        stat: *stat,
                        hash,
                    },
                    false,
                ));
            }
            let full = tree
                .root
                .as_deref()
                .unwrap_or(Path::new(""))
                .join(std::ffi::OsStr::from_bytes(&path));
            let (stat, hash) = read_stable(&full, stat)
                .map_err(unreadable)?
                .ok_or_else(|| HashError::Changing { path: show(&path) })?;
            Ok((
                Learned {
                    path_hash: key,
                    stat,
                    hash,
                },
                true,
            ))
        }
        EntryKind::Given {
            content: FileContent::Bytes(bytes),
            ..
        } => {
            let hash = *blake3::hash(bytes).as_bytes();
            Ok((
                Learned {
                    path_hash: key,
                    stat: NO_STAT,
                    hash,
                },
                false,
            ))
        }
        EntryKind::Given {
            content: FileContent::Path(path),
            ..
        } => {
            let mut input = fs::File::open(path).map_err(unreadable)?;
            let hash = hash_reader(&mut input, u64::MAX).map_err(unreadable)?;
            Ok((
                Learned {
                    path_hash: key,
                    stat: NO_STAT,
                    hash,
                },
                false,
            ))
        }
        EntryKind::Folder(_)
        | EntryKind::Symlink(_)
        | EntryKind::Special { .. }
        | EntryKind::Layered { .. } => Err(unreadable(io::Error::other("it is not a file"))),
    }
}

/// Given files are hashed each time; device 0 keeps them out of the cache.
const NO_STAT: Stat = Stat {
    dev: 0,
    inode: 0,
    size: 0,
    mtime_ns: 0,
    ctime_ns: 0,
    mode: 0,
};

/// Reads until the file has the same stat before and after; `None` if it never does. The size
/// and mode must be those of the scan, because the key and the layer are made from them.
fn read_stable(path: &Path, scanned: &Stat) -> io::Result<Option<(Stat, ContentHash)>> {
    for _ in 0..ATTEMPTS {
        let mut file = open_no_follow(path)?;
        let before = Stat::of(&file.metadata()?);
        let hash = hash_reader(&mut file, before.size)?;
        let after = Stat::of(&file.metadata()?);
        if before == after {
            let same = (after.size, after.executable()) == (scanned.size, scanned.executable());
            return Ok(same.then_some((after, hash)));
        }
    }
    Ok(None)
}

fn open_no_follow(path: &Path) -> io::Result<fs::File> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    // A pipe that took the file's place must not block, nor a link lead elsewhere.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Hashes what is left of `input`; `expected` bytes decide the size of the buffer only.
fn hash_reader(input: &mut dyn Read, expected: u64) -> io::Result<ContentHash> {
    let mut hasher = blake3::Hasher::new();
    // One byte more, so that a small file ends in its first read.
    let size = usize::try_from(expected)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let mut buffer = vec![0; size.clamp(512, 128 * 1024)];
    loop {
        let n = input.read(&mut buffer)?;
        if n == 0 {
            return Ok(*hasher.finalize().as_bytes());
        }
        hasher.update(&buffer[..n]);
    }
}

/// Opens a context file for packing.
pub(crate) fn open_file(tree: &Tree, file: FileRef) -> io::Result<Box<dyn Read + Send>> {
    match &tree.entry(file).kind {
        EntryKind::Given {
            content: FileContent::Bytes(bytes),
            ..
        } => Ok(Box::new(io::Cursor::new(std::sync::Arc::clone(bytes)))),
        EntryKind::Given {
            content: FileContent::Path(path),
            ..
        } => Ok(Box::new(fs::File::open(path)?)),
        _ => {
            let path = tree.path(file);
            let full = tree
                .root
                .as_deref()
                .unwrap_or(Path::new(""))
                .join(std::ffi::OsStr::from_bytes(&path));
            Ok(Box::new(open_no_follow(&full)?))
        }
    }
}
