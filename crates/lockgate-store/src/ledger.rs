//! The ledger's files: append-only segments that survive the death of the process.
//!
//! A segment is given its full size when it is made, so that a call that could start can also be
//! settled on a full disk. An entry is one `write`: after it, only the machine's own death can take
//! the entry away. Every start of a node begins a new segment, so nothing follows a torn tail.

mod bytes;
pub(crate) mod counts;
mod json;
pub(crate) mod record;
mod segment;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockgate_model::ai::{Ledger, LedgerEntry, LedgerError, LedgerHealth};
use parking_lot::Mutex;

use record::{FRAME_BYTES_MAX, SETTLED_BYTES_MAX, SharedTerms};
use segment::Next;

/// Called with the name of each point of [`LEDGER_FAULT_POINTS`] that is passed.
pub type FaultHook = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Declares the points at which a crash test can end the process.
macro_rules! points {
    ($($name:ident = $text:literal $doc:literal;)*) => {
        $(#[doc = $doc] pub(crate) const $name: &str = $text;)*
        /// Every point between two effects of the ledger, in no order.
        pub const LEDGER_FAULT_POINTS: &[&str] = &[$($name),*];
    };
}

points! {
    STARTED = "ledger.started" "A start is written, nothing went to the vendor.";
    SETTLING = "ledger.settling" "A call ended, its end is not written.";
    SETTLED = "ledger.settled" "An end is written, the client has not got the end.";
    ROTATE_MADE = "ledger.rotate.made" "A new segment is on disk and not used.";
    ROTATE_DONE = "ledger.rotate.done" "A new segment is used and empty.";
    APPLY_ROWS = "ledger.apply.rows" "Rows are changed, how far is not.";
    APPLY_COUNTED = "ledger.apply.counted" "Rows and how far are changed, not committed.";
    APPLY_COMMITTED = "ledger.apply.committed" "Rows are committed, the reader stands where it was.";
    REMOVE_BEFORE = "ledger.remove.before" "A segment is applied and still there.";
    REMOVE_AFTER = "ledger.remove.after" "An applied segment is gone.";
    RECOVER = "ledger.recover" "Calls of a dead node are settled, not committed.";
}

/// Segments that may stay for the sake of calls under way, which are not in the database.
const SEGMENTS_KEPT: usize = 8;

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
    /// 8 MiB hold some thirty thousand calls; 1 MiB the ends of six thousand calls under way; 64
    /// segments an outage of the database of two million calls.
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            reserve_bytes: 1 << 20,
            segments_max: 64,
        }
    }
}

/// The ledger's files of one node.
pub struct Journal {
    folder: PathBuf,
    limits: JournalLimits,
    writer: Mutex<Writer>,
    /// First numbers of the segments on disk, the one that is written last.
    segments: Mutex<VecDeque<u64>>,
    reader: Mutex<Reader>,
    /// Damaged segments that were put aside.
    aside: AtomicU64,
    hook: Option<FaultHook>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

struct Writer {
    /// `None` while the disk has no room for a segment.
    file: Option<fs_err::File>,
    at: u64,
    next: u64,
    unsynced: bool,
    /// Calls that started and have not ended.
    open: u64,
    /// The last try to begin a segment failed: entries that need one are refused without another
    /// try, which [`Journal::make_room`] makes.
    stuck: bool,
    /// The last entry could not be written.
    failing: bool,
    /// Calls refused since the node started.
    refused: u64,
}

/// How far the files were read.
#[derive(Debug)]
struct Reader {
    segment: u64,
    at: u64,
    /// Entries up to this number were read, or are lost.
    last: u64,
    /// Segments with damage that are not aside yet.
    damaged: BTreeSet<u64>,
}

impl Journal {
    /// Opens the ledger in `folder`, made if it is missing. Entries up to number `applied` are in
    /// the database. A disk without room for a segment is no error: starts are refused until
    /// there is room.
    pub(crate) fn open(
        folder: &Path,
        limits: JournalLimits,
        applied: u64,
        hook: Option<FaultHook>,
    ) -> io::Result<Self> {
        fs_err::create_dir_all(folder)?;
        let mut segments = segment::list(folder)?;
        let mut last = applied;
        for first in &segments {
            last = last.max(segment::last_number(folder, *first)?);
        }
        // A segment that has no entry yet would get the name of the new one.
        segments.retain(|first| *first <= last);
        let first = segments.first().copied().unwrap_or(last + 1);
        let journal = Self {
            folder: folder.to_owned(),
            limits,
            writer: Mutex::new(Writer {
                file: None,
                at: limits.segment_bytes,
                next: last + 1,
                unsynced: false,
                open: 0,
                stuck: false,
                failing: false,
                refused: 0,
            }),
            segments: Mutex::new(segments.into()),
            reader: Mutex::new(Reader {
                segment: first,
                at: 0,
                last: first - 1,
                damaged: BTreeSet::new(),
            }),
            aside: AtomicU64::new(segment::list_aside(folder)?.len() as u64),
            hook,
        };
        {
            let mut writer = journal.writer.lock();
            match journal.begin_segment(&mut writer) {
                Err(error) if is_full(&error) => journal.stick(&mut writer, &error),
                begun => begun?,
            }
        }
        Ok(journal)
    }

    pub(crate) fn pass(&self, point: &'static str) {
        if let Some(hook) = &self.hook {
            hook(point);
        }
    }

    /// Brings what was appended to the disk itself, so that the machine's death cannot take it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = {
            let mut writer = self.writer.lock();
            if !std::mem::take(&mut writer.unsynced) {
                return Ok(());
            }
            let file = writer.file.as_ref();
            file.map(|file| file.file().try_clone()).transpose()?
        };
        file.map_or(Ok(()), |file| file.sync_data())
    }

    /// Whether everything that was written was seen.
    pub(crate) fn is_seen(&self) -> bool {
        let reader = self.reader.lock();
        let here = self.segments.lock().back().copied();
        here.is_none_or(|segment| segment == reader.segment)
            && self.writer.lock().next == reader.last + 1
    }

    /// The next entries with their numbers; empty when there are none. [`Journal::seen`] moves on.
    /// What is damaged or missing is told to the log and passed over. `terms` makes one object of
    /// those that are the same.
    pub(crate) fn read(&self, terms: &mut SharedTerms) -> io::Result<Batch> {
        let (mut segment, mut at, mut last) = {
            let reader = self.reader.lock();
            (reader.segment, reader.at, reader.last)
        };
        loop {
            // Looked up before the read: what was written into a segment before its successor was
            // made is then seen.
            let (known, successor) = {
                let segments = self.segments.lock();
                let successor = segments.iter().copied().find(|first| *first > segment);
                (segments.contains(&segment), successor)
            };
            if !known {
                match successor {
                    Some(next) => (segment, at, last) = (next, 0, last.max(next - 1)),
                    None => return Ok(Batch::new(Vec::new(), segment, at, last)),
                }
                continue;
            }
            let path = segment::path(&self.folder, segment);
            let bytes = segment::read(&path, at)?;
            let mut entries = Vec::new();
            let mut used = 0;
            while let Some((frame, number, body)) = segment::entry(&bytes[used..], last) {
                if number > last + 1 {
                    self.missing(segment, at + used as u64);
                }
                match record::decode(body, terms) {
                    Some(entry) => entries.push((number, entry)),
                    None => self.damaged(segment, at + used as u64, frame),
                }
                used += frame;
                last = number;
            }
            at += used as u64;
            match successor {
                // Entries of another release only: there may be more behind them.
                _ if used > 0 && entries.is_empty() => {}
                // Nobody writes here any more, so what is no entry is the end or damage.
                Some(next) if used == 0 => {
                    let rest = segment::read_rest(&path, at)?;
                    match segment::next(&rest, last) {
                        Next::Damage { size } => {
                            self.damaged(segment, at, size);
                            at += size as u64;
                        }
                        Next::Entry { .. } | Next::End => {
                            if next > last + 1 {
                                self.missing(segment, at);
                            }
                            (segment, at, last) = (next, 0, last.max(next - 1));
                        }
                    }
                }
                _ => return Ok(Batch::new(entries, segment, at, last)),
            }
        }
    }

    /// Everything up to `position` need not be read again by this node.
    pub(crate) fn seen(&self, position: Position) {
        let mut reader = self.reader.lock();
        reader.segment = position.segment;
        reader.at = position.at;
        reader.last = position.last;
    }

    /// Entries before number `kept` need not be read by a later node: removes the segments that
    /// nobody needs any more. Those with damage are kept aside.
    pub(crate) fn remove_before(&self, kept: u64) -> io::Result<()> {
        let reading = self.reader.lock().segment;
        loop {
            let gone = {
                let mut segments = self.segments.lock();
                match (segments.front(), segments.get(1)) {
                    (Some(first), Some(second)) if *second <= kept && *first < reading => {
                        segments.pop_front()
                    }
                    _ => return Ok(()),
                }
            };
            let Some(first) = gone else { continue };
            self.pass(REMOVE_BEFORE);
            if self.reader.lock().damaged.remove(&first) {
                segment::put_aside(&self.folder, first)?;
            } else {
                fs_err::remove_file(segment::path(&self.folder, first))?;
            }
            self.pass(REMOVE_AFTER);
        }
    }

    /// Calls that started before this number hold segments that should be removed soon.
    pub(crate) fn crowded_before(&self) -> u64 {
        let kept = (self.limits.segments_max / 2).clamp(1, SEGMENTS_KEPT);
        let segments = self.segments.lock();
        let over = segments.len().saturating_sub(kept);
        match segments.get(over) {
            Some(first) if over > 0 => *first,
            _ => 0,
        }
    }

    /// Tells of `size` bytes that are no entry, once a segment's place.
    fn damaged(&self, segment: u64, at: u64, size: usize) {
        self.reader.lock().damaged.insert(segment);
        let file = segment::path(&self.folder, segment);
        tracing::error!(
            file = %file.display(),
            offset = at,
            bytes = size,
            "a segment of the ledger is damaged: calls may be missing; the file is kept aside"
        );
    }

    /// Tells that entries before this place are not there, unless damage that was told took them.
    fn missing(&self, segment: u64, at: u64) {
        if self.reader.lock().damaged.insert(segment) {
            let file = segment::path(&self.folder, segment);
            tracing::error!(
                file = %file.display(),
                offset = at,
                "entries of the ledger are missing: calls may be missing; the file is kept aside"
            );
        }
    }

    /// Begins a new segment.
    fn begin_segment(&self, writer: &mut Writer) -> io::Result<()> {
        if self.segments.lock().len() >= self.limits.segments_max {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "too many entries wait for the database",
            ));
        }
        let file = segment::create(&self.folder, writer.next, self.limits.segment_bytes)?;
        self.pass(ROTATE_MADE);
        if let Some(old) = &writer.file {
            old.file().sync_data()?;
        }
        writer.file = Some(file);
        writer.at = 0;
        self.segments.lock().push_back(writer.next);
        self.pass(ROTATE_DONE);
        Ok(())
    }

    /// The ledger takes no starts from now on. Said once, however many are refused.
    fn stick(&self, writer: &mut Writer, error: &io::Error) {
        if !std::mem::replace(&mut writer.stuck, true) {
            tracing::error!(
                %error,
                folder = %self.folder.display(),
                "the ledger of AI calls is full: new calls are refused until there is room"
            );
        }
    }

    /// Tries again to begin a segment, if the last try failed.
    pub(crate) fn make_room(&self) {
        let mut writer = self.writer.lock();
        if writer.stuck && self.begin_segment(&mut writer).is_ok() {
            writer.stuck = false;
            let refused = writer.refused;
            tracing::info!(refused, "the ledger of AI calls has room again");
        }
    }

    /// How the ledger is.
    pub(crate) fn health(&self) -> LedgerHealth {
        // People remove these files; a folder that cannot be read has what it had.
        if let Ok(aside) = segment::list_aside(&self.folder) {
            self.aside.store(aside.len() as u64, Ordering::Relaxed);
        }
        let aside = self.aside.load(Ordering::Relaxed);
        let damaged = aside + self.reader.lock().damaged.len() as u64;
        let segments = self.segments.lock().len() as u64;
        let writer = self.writer.lock();
        LedgerHealth {
            full: writer.stuck || writer.failing,
            refused: writer.refused,
            segments,
            damaged,
            behind: false,
        }
    }

    fn write(&self, frame: &mut [u8], entry: &LedgerEntry) -> io::Result<()> {
        let mut writer = self.writer.lock();
        let length = frame.len() as u64;
        // What is left must hold the end of every call under way, this one included.
        let reserve = match entry {
            LedgerEntry::Settled(..) => 0,
            LedgerEntry::Started(..) | LedgerEntry::Progress(..) => {
                let ends = (writer.open + 1).saturating_mul(SETTLED_BYTES_MAX);
                self.limits.reserve_bytes.max(ends)
            }
        };
        let written = self
            .find_room(&mut writer, length, reserve)
            .and_then(|()| self.write_here(&mut writer, frame));
        match entry {
            LedgerEntry::Started(..) if written.is_ok() => writer.open += 1,
            LedgerEntry::Started(..) => writer.refused += 1,
            LedgerEntry::Settled(..) => writer.open = writer.open.saturating_sub(1),
            LedgerEntry::Progress(..) => {}
        }
        written
    }

    /// Begins a segment if the current one has no room for `length` bytes beside `reserve`.
    fn find_room(&self, writer: &mut Writer, length: u64, reserve: u64) -> io::Result<()> {
        let size = self.limits.segment_bytes;
        if writer.at + length + reserve <= size {
            return Ok(());
        }
        if length + reserve > size {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a segment would not hold the ends of the calls under way",
            ));
        }
        if writer.stuck {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.begin_segment(writer)
            .inspect_err(|error| self.stick(writer, error))
    }

    fn write_here(&self, writer: &mut Writer, frame: &mut [u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let file = writer.file.as_ref().ok_or(io::ErrorKind::StorageFull)?;
        record::seal(frame, writer.next);
        // A part that was written is written over by the next entry.
        let written = file.file().write_all_at(frame, writer.at);
        if std::mem::replace(&mut writer.failing, written.is_err()) != written.is_err() {
            let folder = self.folder.display();
            match &written {
                Ok(()) => tracing::info!(%folder, "the ledger of AI calls takes entries again"),
                Err(error) => {
                    tracing::error!(%error, %folder, "the ledger of AI calls takes no entry");
                }
            }
        }
        written?;
        writer.at += frame.len() as u64;
        writer.next += 1;
        writer.unsynced = true;
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What [`Journal::read`] found.
pub(crate) struct Batch {
    pub(crate) entries: Vec<(u64, LedgerEntry)>,
    pub(crate) position: Position,
}

impl Batch {
    fn new(entries: Vec<(u64, LedgerEntry)>, segment: u64, at: u64, last: u64) -> Self {
        Self {
            entries,
            position: Position { segment, at, last },
        }
    }
}

/// How far [`Journal::read`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    segment: u64,
    at: u64,
    last: u64,
}

impl Ledger for Journal {
    fn append(&self, entry: &LedgerEntry) -> Result<(), LedgerError> {
        let mut frame = record::encode(entry);
        if frame.len() > FRAME_BYTES_MAX {
            return Err(LedgerError(io::ErrorKind::InvalidInput.into()));
        }
        if matches!(entry, LedgerEntry::Settled(..)) {
            self.pass(SETTLING);
        }
        self.write(&mut frame, entry).map_err(LedgerError)?;
        match entry {
            LedgerEntry::Started(..) => self.pass(STARTED),
            LedgerEntry::Settled(..) => self.pass(SETTLED),
            LedgerEntry::Progress(..) => {}
        }
        Ok(())
    }
}

const _: () = assert!(FRAME_BYTES_MAX < segment::READ_BYTES);

#[cfg(test)]
mod tests;
