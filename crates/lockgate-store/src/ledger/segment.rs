//! One file of the ledger: made at its full size, read in pieces, put aside when it is damaged.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::record::{self, FRAME_BYTES_MAX, HEADER_BYTES};

/// Bytes read from a segment at once.
pub(super) const READ_BYTES: usize = 1 << 20;
/// Damaged segments that are kept; one more takes the place of the oldest.
const ASIDE_MAX: usize = 16;
/// Most entries that damage may have taken away. An entry that seems to follow damage with a
/// greater distance is chance.
const LOST_MAX: u64 = 1 << 20;

const NAME: &str = ".ledger";
const NAME_ASIDE: &str = ".damaged";

/// What stands at the start of some bytes.
pub(super) enum Next {
    /// A whole entry.
    Entry { size: usize, number: u64 },
    /// Bytes that are no entry, up to the next entry or the end of what was written.
    Damage { size: usize },
    /// Nothing was written here.
    End,
}

/// The entry that `bytes` begin with: its size, number and body. Numbers rise, so one that is not
/// above `last`, the number before, is what some disk wrote twice.
pub(super) fn entry(bytes: &[u8], last: u64) -> Option<(usize, u64, &[u8])> {
    record::frame(bytes).filter(|(_, number, _)| *number > last)
}

/// Looks at `bytes`, which reach to the end of a segment that nobody writes. `last` is the number
/// of the entry before.
pub(super) fn next(bytes: &[u8], last: u64) -> Next {
    if let Some((size, number, _)) = entry(bytes, last) {
        return Next::Entry { size, number };
    }
    let Some(written) = bytes.iter().rposition(|b| *b != 0) else {
        return Next::End;
    };
    let numbers = last + 1..=last.saturating_add(LOST_MAX);
    let found = (1..=written).find(|at| {
        record::number(&bytes[*at..]).is_some_and(|number| numbers.contains(&number))
            && record::frame(&bytes[*at..]).is_some()
    });
    Next::Damage {
        size: found.unwrap_or(written + 1),
    }
}

/// The largest number in a segment that nobody writes; less than `first` when nothing was written.
/// Damage without an entry counts as the first one, so that no new segment takes its file.
pub(super) fn last_number(folder: &Path, first: u64) -> io::Result<u64> {
    let bytes = fs_err::read(path(folder, first))?;
    let (mut at, mut last) = (0, first - 1);
    let mut least = last;
    loop {
        match next(&bytes[at..], last) {
            Next::Entry { size, number } => {
                at += size;
                last = number;
            }
            Next::Damage { size } => {
                at += size;
                least = first;
            }
            Next::End => return Ok(last.max(least)),
        }
    }
}

/// The file of the segment whose first entry has the number `first`.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{NAME}"))
}

/// First numbers of the segments in `folder`, in order.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    named(folder, NAME)
}

/// First numbers of the damaged segments that were put aside, in order.
pub(super) fn list_aside(folder: &Path) -> io::Result<Vec<u64>> {
    named(folder, NAME_ASIDE)
}

fn named(folder: &Path, ending: &str) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name();
        let first = name.to_str().and_then(|n| n.strip_suffix(ending));
        found.extend(first.and_then(|first| first.parse::<u64>().ok().filter(|n| *n > 0)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Keeps a damaged segment for people; nothing reads it any more.
pub(super) fn put_aside(folder: &Path, first: u64) -> io::Result<()> {
    let aside = |first: u64| folder.join(format!("{first:020}{NAME_ASIDE}"));
    let kept = list_aside(folder)?;
    for old in kept.iter().take((kept.len() + 1).saturating_sub(ASIDE_MAX)) {
        fs_err::remove_file(aside(*old))?;
    }
    fs_err::rename(path(folder, first), aside(first))?;
    fs_err::File::open(folder)?.sync_all()
}

/// A segment of its full size, on disk.
pub(super) fn create(folder: &Path, first: u64, size: u64) -> io::Result<fs_err::File> {
    let path = path(folder, first);
    let made = || {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        let file = fs_err::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        allocate(&file, size)?;
        file.sync_all()?;
        fs_err::File::open(folder)?.sync_all()?;
        Ok(file)
    };
    made().inspect_err(|_: &io::Error| {
        // What a full disk could not hold must not take its last bytes.
        let _ = fs_err::remove_file(&path);
    })
}

/// Takes the disk space now. File systems without this get it as entries come.
fn allocate(file: &fs_err::File, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file.file(), FallocateFlags::empty(), 0, size) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(size),
        result => Ok(result?),
    }
}

/// Up to [`READ_BYTES`] bytes of a segment from `at` on.
pub(super) fn read(path: &Path, at: u64) -> io::Result<Vec<u8>> {
    read_up_to(path, at, READ_BYTES)
}

/// The bytes of a segment from `at` to its end, for which nobody waits.
pub(super) fn read_rest(path: &Path, at: u64) -> io::Result<Vec<u8>> {
    let size = fs_err::metadata(path)?.len().saturating_sub(at);
    read_up_to(path, at, usize::try_from(size).unwrap_or(usize::MAX))
}

fn read_up_to(path: &Path, at: u64, most: usize) -> io::Result<Vec<u8>> {
    let file = fs_err::File::open(path)?;
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < bytes.len() {
        let n = file
            .file()
            .read_at(&mut bytes[filled..], at + filled as u64)?;
        if n == 0 {
            break;
        }
        filled += n;
    }
    bytes.truncate(filled);
    Ok(bytes)
}

const _: () = assert!(HEADER_BYTES < FRAME_BYTES_MAX);
