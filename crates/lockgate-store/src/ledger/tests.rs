//! Entries come back; a full or torn ledger keeps its promises.

use super::*;
use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallEnd, CallId, CallStart, CallStatus, CallTerms, Operation, Price, Rates, Usage,
};

const SMALL: JournalLimits = JournalLimits {
    segment_bytes: 4096,
    reserve_bytes: 1024,
    segments_max: 3,
};

fn id(n: u32) -> CallId {
    CallId {
        request: format!("request \"{n}\"").into(),
        attempt: 1,
    }
}

fn started(n: u32) -> LedgerEntry {
    let terms = CallTerms {
        route: "p/s/r".into(),
        consumer: Some("p/s/c".into()),
        api_key: None,
        alias: "fast".into(),
        vendor: "p/s/v".into(),
        vendor_model: "m-1".into(),
        operation: Operation::Chat,
        price: Some(Price {
            version: "0123456789abcdef".into(),
            currency: "USD".into(),
            rates: Rates {
                input: 1,
                output: u64::MAX,
                ..Rates::default()
            },
        }),
    };
    let start = CallStart {
        at: Timestamp(5),
        terms: Arc::new(terms),
        stream: true,
        input_estimate: 12,
    };
    LedgerEntry::Started(id(n), start)
}

fn settled(n: u32) -> LedgerEntry {
    let end = CallEnd {
        at: Timestamp(9),
        status: CallStatus::Cut,
        http_status: Some(200),
        usage: Usage {
            input: 7,
            output_audio: 9,
            ..Usage::default()
        },
        estimated: true,
    };
    LedgerEntry::Settled(id(n), end)
}

fn all(journal: &Journal) -> Vec<(u64, LedgerEntry)> {
    let mut terms = SharedTerms::default();
    let mut found = Vec::new();
    while !journal.is_seen() {
        let batch = journal.read(&mut terms).unwrap();
        let last = batch.entries.last().map(|(number, _)| *number);
        journal.seen(batch.position);
        assert!(last.is_some() || journal.is_seen(), "more is not found");
        journal.remove_before(last.unwrap_or(0) + 1).unwrap();
        found.extend(batch.entries);
    }
    found
}

#[test]
fn entries_come_back_as_they_were_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let entries = [started(1), LedgerEntry::Progress(id(1), 3), settled(1)];
    let journal = Journal::open(folder.path(), JournalLimits::default(), 0, None).unwrap();
    for entry in &entries {
        journal.append(entry).unwrap();
    }
    drop(journal);
    let journal = Journal::open(folder.path(), JournalLimits::default(), 0, None).unwrap();
    journal.append(&started(2)).unwrap();
    let expected: Vec<(u64, LedgerEntry)> =
        (1..).zip(entries.into_iter().chain([started(2)])).collect();
    assert_eq!(all(&journal), expected);
    let journal = Journal::open(folder.path(), JournalLimits::default(), 4, None).unwrap();
    assert_eq!(all(&journal).last().map(|(n, _)| *n), Some(4));
    journal.append(&settled(2)).unwrap();
    assert_eq!(all(&journal), [(5, settled(2))]);
}

#[test]
fn a_torn_tail_is_dropped_and_nothing_after_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), SMALL, 0, None).unwrap();
    journal.append(&started(1)).unwrap();
    journal.append(&settled(1)).unwrap();
    let path = segment::path(folder.path(), 1);
    let at = {
        let writer = journal.writer.lock();
        writer.at - 10
    };
    drop(journal);
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[usize::try_from(at).unwrap()..].fill(0);
    fs_err::write(&path, bytes).unwrap();
    let journal = Journal::open(folder.path(), SMALL, 0, None).unwrap();
    journal.append(&settled(1)).unwrap();
    assert_eq!(all(&journal), [(1, started(1)), (2, settled(1))]);
    assert_eq!(journal.health().damaged, 1, "a torn entry is told");
    let journal = Journal::open(folder.path(), SMALL, 2, None).unwrap();
    assert_eq!(journal.health().damaged, 1, "also after the next start");
    fs_err::remove_file(segment::path(folder.path(), 1).with_extension("damaged")).unwrap();
    assert_eq!(journal.health().damaged, 0);
}

/// Room for nine calls.
const NINE: JournalLimits = JournalLimits {
    segment_bytes: 16 * 1024,
    ..SMALL
};

#[test]
fn damage_takes_only_what_it_hit_and_its_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), NINE, 0, None).unwrap();
    let mut ends = Vec::new();
    for n in 0..9 {
        journal.append(&started(n)).unwrap();
        ends.push(journal.writer.lock().at);
    }
    drop(journal);
    let path = segment::path(folder.path(), 1);
    let whole = fs_err::read(&path).unwrap();
    let (first, second) = (
        usize::try_from(ends[2]).unwrap(),
        usize::try_from(ends[3]).unwrap(),
    );
    for at in first..second {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs_err::write(segment::path(folder.path(), 1), bytes).unwrap();
        let journal = Journal::open(folder.path(), NINE, 0, None).unwrap();
        journal.append(&settled(9)).unwrap();
        let mut expected: Vec<(u64, LedgerEntry)> = (1..).zip((0..9).map(started)).collect();
        expected.remove(3);
        expected.push((10, settled(9)));
        assert_eq!(all(&journal), expected, "byte {at}");
        assert_eq!(journal.health().damaged, 1, "byte {at}");
        let names = segment::list_aside(folder.path()).unwrap();
        assert_eq!(names, [1], "byte {at}");
    }
}

/// A ledger of four entries, its file, and where each entry begins and the last one ends.
fn four() -> (tempfile::TempDir, PathBuf, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), NINE, 0, None).unwrap();
    let mut places = vec![0];
    for n in 0..4 {
        journal.append(&started(n)).unwrap();
        places.push(usize::try_from(journal.writer.lock().at).unwrap());
    }
    let path = segment::path(folder.path(), 1);
    (folder, path, places)
}

fn numbers(found: &[(u64, LedgerEntry)]) -> Vec<u64> {
    found.iter().map(|(number, _)| *number).collect()
}

#[test]
fn an_entry_that_stands_twice_is_read_once() {
    let (folder, path, places) = four();
    let mut bytes = fs_err::read(&path).unwrap();
    let first = bytes[..places[1]].to_vec();
    bytes.splice(places[3]..places[3], first);
    fs_err::write(&path, bytes).unwrap();
    let journal = Journal::open(folder.path(), NINE, 0, None).unwrap();
    journal.append(&settled(9)).unwrap();
    assert_eq!(numbers(&all(&journal)), [1, 2, 3, 4, 5]);
    assert_eq!(journal.health().damaged, 1);
}

#[test]
fn entries_that_are_gone_without_a_trace_are_told() {
    for gone in [1..2, 2..4] {
        let (folder, path, places) = four();
        let journal = Journal::open(folder.path(), NINE, 0, None).unwrap();
        journal.append(&settled(9)).unwrap();
        drop(journal);
        let mut bytes = fs_err::read(&path).unwrap();
        bytes.drain(places[gone.start]..places[gone.end]);
        fs_err::write(&path, bytes).unwrap();
        let journal = Journal::open(folder.path(), NINE, 0, None).unwrap();
        let found = numbers(&all(&journal));
        assert_eq!(found.len(), 5 - gone.len(), "{found:?}");
        assert_eq!(journal.health().damaged, 1, "{gone:?}");
    }
}

#[test]
fn a_segment_of_nothing_but_damage_is_kept() {
    let (folder, path, places) = four();
    let mut bytes = fs_err::read(&path).unwrap();
    for at in &places[..4] {
        bytes[at + 4] ^= 0x80;
    }
    fs_err::write(&path, &bytes).unwrap();
    let journal = Journal::open(folder.path(), NINE, 0, None).unwrap();
    assert_eq!(all(&journal), []);
    assert_eq!(fs_err::read(&path).unwrap(), bytes);
    journal.append(&settled(9)).unwrap();
    assert_eq!(all(&journal), [(2, settled(9))]);
    assert_eq!(journal.health().damaged, 1);
    let aside = path.with_extension("damaged");
    journal.remove_before(3).unwrap();
    assert_eq!(fs_err::read(&aside).unwrap(), bytes);
}

#[test]
fn what_was_applied_and_is_lost_leaves_nothing_to_read() {
    let (folder, path, places) = four();
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[places[3]..].fill(0);
    fs_err::write(&path, bytes).unwrap();
    let journal = Journal::open(folder.path(), NINE, 4, None).unwrap();
    assert_eq!(numbers(&all(&journal)), [1, 2, 3]);
    assert!(journal.is_seen());
}

#[test]
fn entries_of_a_later_release_hide_none_behind_them() {
    let (folder, path, places) = four();
    let mut bytes = fs_err::read(&path).unwrap();
    for (number, place) in (1..).zip(places.windows(2)) {
        let frame = &mut bytes[place[0]..place[1]];
        frame[record::HEADER_BYTES] = 9;
        record::seal(frame, number);
    }
    fs_err::write(&path, bytes).unwrap();
    let journal = Journal::open(folder.path(), NINE, 0, None).unwrap();
    journal.append(&settled(9)).unwrap();
    let batch = journal.read(&mut SharedTerms::default()).unwrap();
    assert_eq!(batch.entries, [(5, settled(9))]);
    assert_eq!(journal.health().damaged, 1);
}

#[test]
fn only_so_many_damaged_files_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for first in 1..40 {
        fs_err::write(segment::path(folder.path(), first), b"x").unwrap();
        segment::put_aside(folder.path(), first).unwrap();
    }
    let kept = segment::list_aside(folder.path()).unwrap();
    assert_eq!(kept, (24..40).collect::<Vec<u64>>());
}

#[test]
fn the_end_of_every_call_under_way_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let limits = JournalLimits {
        segment_bytes: 8192,
        reserve_bytes: 0,
        segments_max: 1,
    };
    let journal = Journal::open(folder.path(), limits, 0, None).unwrap();
    let mut open = 0;
    while journal.append(&started(open)).is_ok() {
        open += 1;
        let _ = journal.append(&LedgerEntry::Progress(id(0), open.into()));
    }
    assert!(open > 5, "{open}");
    for n in 0..open {
        journal.append(&settled(n)).unwrap();
    }
}

#[test]
fn the_longest_end_fits_its_room() {
    let end = CallEnd {
        at: Timestamp(i64::MIN),
        status: CallStatus::ClientCancelled,
        http_status: Some(u16::MAX),
        usage: counts::usage([u64::MAX; 7]),
        estimated: false,
    };
    let id = CallId {
        request: "0193a1b2-0000-7000-8000-000000000000".into(),
        attempt: u32::MAX,
    };
    let frame = record::encode(&LedgerEntry::Settled(id, end));
    assert!(frame.len() as u64 <= SETTLED_BYTES_MAX, "{}", frame.len());
}

#[test]
fn a_full_ledger_refuses_starts_and_takes_ends() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), SMALL, 0, None).unwrap();
    for n in 0..3 {
        journal.append(&started(n)).unwrap();
    }
    let mut pairs = 0;
    while journal.append(&started(9)).is_ok() {
        journal.append(&settled(9)).unwrap();
        pairs += 1;
        assert!(pairs < 1000, "a cap is missing");
    }
    assert!(journal.health().full);
    assert_eq!(journal.health().refused, 1);
    for n in 0..3 {
        journal.append(&settled(n)).unwrap();
    }
    // Ends that are written need no room any more.
    while journal.append(&started(9)).is_ok() {
        journal.append(&settled(9)).unwrap();
        pairs += 1;
    }
    assert_eq!(all(&journal).len(), 6 + 2 * pairs);
    let files = fs_err::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "segments that are applied stay");
    assert!(
        journal.append(&started(9)).is_err(),
        "a full ledger tries by itself"
    );
    journal.make_room();
    journal.append(&started(9)).unwrap();
    assert!(!journal.health().full);
}

#[test]
fn segments_stay_while_an_entry_in_them_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), SMALL, 0, None).unwrap();
    let firsts = || segment::list(folder.path()).unwrap();
    let mut n = 0;
    while firsts().len() < 3 {
        journal.append(&started(n)).unwrap();
        journal.append(&settled(n)).unwrap();
        n += 1;
    }
    let batch = loop {
        let batch = journal.read(&mut SharedTerms::default()).unwrap();
        journal.seen(batch.position);
        if batch.entries.is_empty() || journal.is_seen() {
            break batch;
        }
    };
    assert!(journal.is_seen(), "{:?}", batch.position);
    let names = firsts();
    journal.remove_before(names[1] - 1).unwrap();
    assert_eq!(firsts(), names, "its last entry is needed");
    journal.remove_before(names[1]).unwrap();
    assert_eq!(firsts(), names[1..]);
    journal.remove_before(u64::MAX).unwrap();
    assert_eq!(firsts(), names[2..], "the one that is written");
    assert_eq!(journal.crowded_before(), 0);
}

#[test]
fn what_was_read_and_not_seen_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), SMALL, 0, None).unwrap();
    journal.append(&started(1)).unwrap();
    let mut terms = SharedTerms::default();
    let read = journal.read(&mut terms).unwrap().entries;
    assert_eq!(read, [(1, started(1))]);
    assert!(!journal.is_seen());
    assert_eq!(journal.read(&mut terms).unwrap().entries, read);
}

#[test]
fn entries_of_earlier_releases_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let old = include_bytes!("testdata/json.ledger");
    fs_err::write(segment::path(folder.path(), 1), old).unwrap();
    let journal = Journal::open(folder.path(), SMALL, 0, None).unwrap();
    journal.append(&started(9)).unwrap();
    let entries = all(&journal);
    let numbers: Vec<u64> = entries.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    let LedgerEntry::Started(id, start) = &entries[0].1 else {
        panic!("{entries:?}")
    };
    assert_eq!(&*id.request, "01a22466-784a-702a-93a7-5e9ec0ed754e");
    assert_eq!(
        (start.at.0, start.input_estimate),
        (1_795_907_024_970_904_612, 16)
    );
    assert_eq!(&*start.terms.vendor_model, "test-small");
    let price = start.terms.price.as_ref().unwrap();
    assert_eq!(
        (price.rates.cache_read, price.rates.output),
        (75_000, 600_000)
    );
    let LedgerEntry::Settled(of, end) = &entries[1].1 else {
        panic!("{entries:?}")
    };
    assert_eq!(
        (of, end.status, end.http_status),
        (id, CallStatus::Ok, Some(200))
    );
    assert_eq!(
        (end.usage.input, end.usage.output, end.estimated),
        (140, 180, false)
    );
}
