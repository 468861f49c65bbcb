//! The ledger's files: append-only segments that survive the death of the process.
//!
//! A segment is given its full size when it is made, so that a call that could start can also be
//! settled on a full disk. An entry is one `write`: after it, only the machine's own death can take
//! the entry away. Every start of a node begins a new segment, so nothing follows a torn tail.

pub(crate) mod record;

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use lockgate_model::ai::{Ledger, LedgerEntry, LedgerError};
use parking_lot::Mutex;

use record::{FRAME_BYTES_MAX, HEADER_BYTES};

/// Sizes of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Bytes of one segment.
    pub segment_bytes: u64,
    /// Bytes at the end of a segment that only the ends of calls may use.
    pub reserve_bytes: u64,
    /// Segments that may wait for the database.
    pub segments_max: usize,
}

impl Default for JournalLimits {
    /// 8 MiB hold some ten thousand calls; 1 MiB the ends of four thousand calls under way; 64
    /// segments an outage of the database of half a million calls.
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            reserve_bytes: 1 << 20,
            segments_max: 64,
        }
    }
}

/// Bytes read from a segment at once.
const READ_BYTES: usize = 1 << 20;

/// The ledger's files of one node.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    limits: JournalLimits,
    writer: Mutex<Writer>,
    /// First numbers of the segments on disk, the one that is written last.
    segments: Mutex<VecDeque<u64>>,
    reader: Mutex<Reader>,
}

#[derive(Debug)]
struct Writer {
    file: fs_err::File,
    at: u64,
    next: u64,
    unsynced: bool,
}

/// How far the files were read.
#[derive(Debug, Default)]
struct Reader {
    segment: u64,
    at: u64,
}

impl Journal {
    /// Opens the ledger in `folder`, made if it is missing. Entries up to number `applied` are in
    /// the database.
    pub(crate) fn open(folder: &Path, limits: JournalLimits, applied: u64) -> io::Result<Self> {
        fs_err::create_dir_all(folder)?;
        let mut segments = Vec::new();
        for entry in fs_err::read_dir(folder)? {
            let name = entry?.file_name();
            let first = name.to_str().and_then(|n| n.strip_suffix(".ledger"));
            segments.extend(first.and_then(|first| first.parse::<u64>().ok()));
        }
        segments.sort_unstable();
        let mut last = applied;
        for first in &segments {
            let bytes = fs_err::read(path(folder, *first))?;
            let mut at = 0;
            while let Some((frame, number, _)) = record::frame(&bytes[at..]) {
                at += frame;
                last = last.max(number);
            }
        }
        // A segment that has no entry yet would get the name of the new one.
        segments.retain(|first| *first <= last);
        let next = last + 1;
        let file = create(folder, next, limits.segment_bytes)?;
        segments.push(next);
        let first = segments.first().copied().unwrap_or(next);
        Ok(Self {
            folder: folder.to_owned(),
            limits,
            writer: Mutex::new(Writer {
                file,
                at: 0,
                next,
                unsynced: false,
            }),
            segments: Mutex::new(segments.into()),
            reader: Mutex::new(Reader {
                segment: first,
                at: 0,
            }),
        })
    }

    /// Brings what was appended to the disk itself, so that the machine's death cannot take it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = {
            let mut writer = self.writer.lock();
            if !std::mem::take(&mut writer.unsynced) {
                return Ok(());
            }
            writer.file.file().try_clone()?
        };
        file.sync_data()
    }

    /// The next entries with their numbers; empty when there are none. [`Journal::seen`] moves on.
    pub(crate) fn read(&self) -> io::Result<(Vec<(u64, LedgerEntry)>, Position)> {
        let (mut segment, mut at) = {
            let reader = self.reader.lock();
            (reader.segment, reader.at)
        };
        loop {
            // Looked up before the read: what was written into a segment before its successor was
            // made is then seen.
            let successor = {
                let segments = self.segments.lock();
                segments.iter().copied().find(|first| *first > segment)
            };
            let bytes = read_at(&path(&self.folder, segment), at)?;
            let mut entries = Vec::new();
            let mut used = 0;
            while let Some((frame, number, body)) = record::frame(&bytes[used..]) {
                used += frame;
                match record::decode(body) {
                    Some(entry) => entries.push((number, entry)),
                    None => tracing_damage(segment, at + used as u64),
                }
            }
            at += used as u64;
            match successor {
                Some(next) if used == 0 => (segment, at) = (next, 0),
                _ => return Ok((entries, Position { segment, at })),
            }
        }
    }

    /// Everything up to `position`, whose last entry has the number `applied`, is in the database:
    /// moves on and removes segments that nobody needs any more.
    pub(crate) fn seen(&self, position: Position, applied: u64) -> io::Result<()> {
        *self.reader.lock() = Reader {
            segment: position.segment,
            at: position.at,
        };
        loop {
            let gone = {
                let mut segments = self.segments.lock();
                match (segments.front(), segments.get(1)) {
                    (Some(first), Some(second))
                        if *second <= applied + 1 && *first < position.segment =>
                    {
                        segments.pop_front()
                    }
                    _ => return Ok(()),
                }
            };
            if let Some(first) = gone {
                fs_err::remove_file(path(&self.folder, first))?;
            }
        }
    }

    /// Begins a new segment.
    fn rotate(&self, writer: &mut Writer) -> io::Result<()> {
        if self.segments.lock().len() >= self.limits.segments_max {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "too many entries wait for the database",
            ));
        }
        let file = create(&self.folder, writer.next, self.limits.segment_bytes)?;
        writer.file.file().sync_data()?;
        writer.file = file;
        writer.at = 0;
        self.segments.lock().push_back(writer.next);
        Ok(())
    }

    fn write(&self, frame: &mut [u8], reserve: u64) -> io::Result<()> {
        let mut writer = self.writer.lock();
        let length = frame.len() as u64;
        if writer.at + length + reserve > self.limits.segment_bytes {
            // The file of a segment is named by its first number: an empty one has no successor.
            if writer.at == 0 {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.rotate(&mut writer)?;
        }
        record::seal(frame, writer.next);
        // A part that was written is written over by the next entry.
        writer.file.file().write_all_at(frame, writer.at)?;
        writer.at += length;
        writer.next += 1;
        writer.unsynced = true;
        Ok(())
    }
}

/// How far [`Journal::read`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    segment: u64,
    at: u64,
}

impl Ledger for Journal {
    fn append(&self, entry: &LedgerEntry) -> Result<(), LedgerError> {
        let mut frame = record::encode(entry);
        if frame.len() > FRAME_BYTES_MAX {
            return Err(LedgerError(io::ErrorKind::InvalidInput.into()));
        }
        let reserve = match entry {
            LedgerEntry::Settled(..) => 0,
            LedgerEntry::Started(..) | LedgerEntry::Progress(..) => self.limits.reserve_bytes,
        };
        self.write(&mut frame, reserve).map_err(LedgerError)
    }
}

fn tracing_damage(segment: u64, at: u64) {
    tracing::error!(segment, at, "an entry of the ledger cannot be understood");
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.ledger"))
}

/// A segment of its full size, on disk.
fn create(folder: &Path, first: u64, size: u64) -> io::Result<fs_err::File> {
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

fn read_at(path: &Path, at: u64) -> io::Result<Vec<u8>> {
    let file = fs_err::File::open(path)?;
    let mut bytes = vec![0; READ_BYTES];
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

const _: () = assert!(FRAME_BYTES_MAX < READ_BYTES && HEADER_BYTES < FRAME_BYTES_MAX);

#[cfg(test)]
mod tests;
