//! Entries come back; a full or torn ledger keeps its promises.

use super::*;
use lockgate_model::Timestamp;
use lockgate_model::ai::{CallEnd, CallId, CallStart, CallStatus, Operation, Price, Rates, Usage};

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
    let start = CallStart {
        at: Timestamp(5),
        route: "p/s/r".into(),
        consumer: Some("p/s/c".into()),
        api_key: None,
        alias: "fast".into(),
        vendor: "p/s/v".into(),
        vendor_model: "m-1".into(),
        operation: Operation::Chat,
        stream: true,
        input_estimate: 12,
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
    LedgerEntry::Started(id(n), Box::new(start))
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
    let mut found = Vec::new();
    loop {
        let (entries, position) = journal.read().unwrap();
        let Some((last, _)) = entries.last() else {
            return found;
        };
        journal.seen(position, *last).unwrap();
        found.extend(entries);
    }
}

#[test]
fn entries_come_back_as_they_were_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let entries = [started(1), LedgerEntry::Progress(id(1), 3), settled(1)];
    let journal = Journal::open(folder.path(), JournalLimits::default(), 0).unwrap();
    for entry in &entries {
        journal.append(entry).unwrap();
    }
    drop(journal);
    let journal = Journal::open(folder.path(), JournalLimits::default(), 0).unwrap();
    journal.append(&started(2)).unwrap();
    let expected: Vec<(u64, LedgerEntry)> =
        (1..).zip(entries.into_iter().chain([started(2)])).collect();
    assert_eq!(all(&journal), expected);
    let journal = Journal::open(folder.path(), JournalLimits::default(), 4).unwrap();
    assert_eq!(all(&journal).last().map(|(n, _)| *n), Some(4));
    journal.append(&settled(2)).unwrap();
    assert_eq!(all(&journal), [(5, settled(2))]);
}

#[test]
fn a_torn_tail_is_dropped_and_nothing_after_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), SMALL, 0).unwrap();
    journal.append(&started(1)).unwrap();
    journal.append(&settled(1)).unwrap();
    let path = path(folder.path(), 1);
    let at = {
        let writer = journal.writer.lock();
        writer.at - 10
    };
    drop(journal);
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[usize::try_from(at).unwrap()..].fill(0);
    fs_err::write(&path, bytes).unwrap();
    let journal = Journal::open(folder.path(), SMALL, 0).unwrap();
    journal.append(&settled(1)).unwrap();
    assert_eq!(all(&journal), [(1, started(1)), (2, settled(1))]);
}

#[test]
fn a_full_ledger_refuses_starts_and_takes_ends() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), SMALL, 0).unwrap();
    let mut open = 0;
    while journal.append(&started(open)).is_ok() {
        open += 1;
        assert!(open < 1000, "a cap is missing");
    }
    for n in 0..3 {
        journal.append(&settled(n)).unwrap();
    }
    assert!(journal.append(&started(open)).is_err());
    assert_eq!(all(&journal).len(), open as usize + 3);
    let files = fs_err::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "segments that are applied stay");
    journal.append(&started(open)).unwrap();
}
