//! Entry points of the fuzz targets in `fuzz/`, each with its oracle: a panic is a find.

mod choices;
mod harm;

use std::path::Path;
use std::sync::Arc;

use lockgate_model::ai::{Ledger as _, LedgerEntry};

use crate::ledger::record::{self, HEADER_BYTES, SharedTerms};
use crate::{Journal, JournalLimits};
use choices::Choices;
use harm::Segment;

/// Room for the longest entry of [`Choices`]; a few of those make several segments.
const LIMITS: JournalLimits = JournalLimits {
    segment_bytes: 16 * 1024,
    reserve_bytes: 1024,
    segments_max: 64,
};
/// What an earlier release wrote.
const OLD: &[u8] = include_bytes!("ledger/testdata/json.ledger");
/// Most entries of one life of the node.
const ENTRIES_MAX: u8 = 16;

/// Any bytes as a body: what is understood is written so that it reads the same, and a binary body
/// is the only one of its entry. The bytes as choices: the entry that they make comes back.
pub fn entry(bytes: &[u8]) {
    let mut terms = SharedTerms::default();
    if let Some(entry) = record::decode(bytes, &mut terms) {
        let body = assert_entry(&entry, &mut terms);
        assert!(
            bytes.starts_with(b"{") || body == bytes,
            "{entry:?} is also {bytes:02x?}"
        );
    }
    assert_entry(&Choices(bytes).entry(), &mut terms);
}

/// Writes and reads; gives the body.
fn assert_entry(entry: &LedgerEntry, terms: &mut SharedTerms) -> Vec<u8> {
    let body = record::encode(entry).split_off(HEADER_BYTES);
    let again = record::decode(&body, terms);
    assert_eq!(again.as_ref(), Some(entry), "{body:02x?}");
    let other = record::decode(&body, terms);
    if let (Some(LedgerEntry::Started(_, one)), Some(LedgerEntry::Started(_, two))) =
        (&again, &other)
    {
        assert!(Arc::ptr_eq(&one.terms, &two.terms), "the same terms");
    }
    body
}

/// Several lives of a node write a ledger, whose files are then damaged: the next life reads only
/// what was written, in order, and all that no damage touched; it tells when something between two
/// entries is missing, and finds what it writes itself. So does the life after it.
pub fn segment(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    // A file system in memory, where there is one: nothing here is about the disk.
    let shared = Path::new("/dev/shm");
    let place = if shared.is_dir() {
        tempfile::tempdir_in(shared)
    } else {
        tempfile::tempdir()
    };
    let folder = place.expect("a folder for the ledger");
    let folder = folder.path();
    let setting = choices.byte();
    let old = setting & 1 != 0;
    let applied = if old { 0 } else { choices.number() >> 16 };
    if old {
        let path = folder.join(format!("{:020}.ledger", 1));
        fs_err::write(path, OLD).expect("a segment is written");
    }
    for _ in 0..1 + setting / 2 % 3 {
        let journal = open(folder, applied);
        for _ in 0..choices.byte() % ENTRIES_MAX {
            journal.append(&choices.entry()).expect("there is room");
        }
    }
    let mut segments = Segment::read_all(folder);
    let written: Vec<_> = segments.iter().flat_map(Segment::entries).collect();
    let mut harm = harm::Harm::default();
    while harm.next(&mut choices, &mut segments) {}
    for segment in &segments {
        segment.write();
    }

    let newest = written.last().map_or(applied, |(number, _)| *number);
    let applied = if setting & 0x40 != 0 { newest } else { applied };
    let fresh = choices.entry();
    let journal = open(folder, applied);
    journal.append(&fresh).expect("there is room");
    let found = read(&journal, written.len() + 1);
    let told = journal.health().damaged > 0;
    drop(journal);

    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{found:?}");
    let (last, before) = found.split_last().expect("the new entry");
    assert_eq!(last.1, fresh, "the new entry");
    assert!(last.0 > applied, "a number that was applied");
    for found in before {
        assert!(written.contains(found), "{found:?} was not written");
    }
    let numbers: Vec<u64> = before.iter().map(|(number, _)| *number).collect();
    if !harm.is_misplaced() {
        let lost: Vec<u64> = segments.iter().flat_map(|s| s.lost(&numbers)).collect();
        assert!(lost.is_empty(), "{lost:?} is missing from {numbers:?}");
    }
    let between = |number: &u64| *number < last.0 && !numbers.contains(number);
    let mut gone = written.iter().map(|(number, _)| *number).filter(between);
    let damaged = gone.next().is_some() || segments.iter().any(|s| s.is_damaged(&numbers));
    assert!(told || !damaged, "nobody is told: {numbers:?}");
    assert!(!told || !harm.is_none(), "damage where there is none");

    let journal = open(folder, applied);
    assert_eq!(read(&journal, found.len()), found, "in the life after it");
    assert_eq!(journal.health().damaged > 0, told, "in the life after it");
}

fn open(folder: &Path, applied: u64) -> Journal {
    Journal::open(folder, LIMITS, applied, None).expect("a ledger opens")
}

/// Everything, as the node reads it; at most `most` entries.
fn read(journal: &Journal, most: usize) -> Vec<(u64, LedgerEntry)> {
    let mut terms = SharedTerms::default();
    let mut found = Vec::new();
    while !journal.is_seen() {
        let batch = journal.read(&mut terms).expect("a ledger reads");
        journal.seen(batch.position);
        // The last move is one to a segment that is empty.
        let more = !batch.entries.is_empty();
        assert!(more || journal.is_seen(), "more is there and not found");
        found.extend(batch.entries);
        assert!(found.len() <= most, "more than was written: {found:?}");
    }
    let rest = journal.read(&mut terms).expect("a ledger reads");
    assert!(rest.entries.is_empty(), "seen, and more is there");
    found
}

#[cfg(test)]
mod tests;
