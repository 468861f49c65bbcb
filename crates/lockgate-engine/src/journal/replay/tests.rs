//! What each journal record means for the state.

use lockgate_model::resource::PendingKind;

use super::*;

fn urn(name: &str) -> Urn {
    Urn::new("dev", "shop", None, "test:index:Res", name)
}

fn entry(name: &str, id: &str, after: &[&str]) -> ResourceState {
    ResourceState {
        urn: Some(urn(name)),
        custom: true,
        id: id.to_owned(),
        dependencies: after.iter().map(|name| urn(name)).collect(),
        ..ResourceState::default()
    }
}

/// Three entries, each after the one before.
fn base() -> Snapshot {
    Snapshot {
        resources: vec![
            Arc::new(entry("a", "1", &[])),
            Arc::new(entry("b", "2", &["a"])),
            Arc::new(entry("c", "3", &["b"])),
        ],
        ..Snapshot::default()
    }
}

fn begin(step: u64, key: &str) -> JournalEntry {
    JournalEntry::Begin {
        step,
        kind: PendingKind::Creating,
        resource: Arc::new(entry("n", "", &[])),
        idempotency_key: key.to_owned(),
    }
}

fn done(step: Option<u64>, remove: &[u64], add: Option<(u64, ResourceState)>) -> JournalEntry {
    JournalEntry::Done {
        step,
        remove: remove.iter().map(|id| EntryId(*id)).collect(),
        add: add.map(|(id, state)| (EntryId(id), Arc::new(state))),
    }
}

fn keep(id: u64) -> JournalEntry {
    JournalEntry::Keep { entry: EntryId(id) }
}

/// `name id`, with `!` for entries that wait for deletion.
fn shape(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .resources
        .iter()
        .map(|state| {
            let mark = if state.delete { "!" } else { "" };
            let name = state.urn.as_ref().map_or("", Urn::name);
            format!("{name} {}{mark}", state.id)
        })
        .collect()
}

fn replayed(entries: &[JournalEntry]) -> Snapshot {
    replay(&base(), entries).expect("a journal of this base")
}

#[test]
fn an_empty_journal_changes_nothing() {
    assert_eq!(replayed(&[]), base());
}

#[test]
fn produced_entries_come_first_and_the_rest_follows_in_order() {
    let state = replayed(&[
        keep(0),
        done(None, &[], Some((3, entry("n", "4", &["a"])))),
        keep(1),
    ]);
    assert_eq!(shape(&state), ["a 1", "n 4", "b 2", "c 3"]);
}

#[test]
fn an_entry_moves_back_behind_what_it_needs() {
    let state = replayed(&[
        done(None, &[0], Some((3, entry("a", "1", &["c"])))),
        done(None, &[1], Some((4, entry("b", "2", &[])))),
    ]);
    assert_eq!(shape(&state), ["b 2", "c 3", "a 1"]);
}

#[test]
fn a_second_live_entry_displaces_the_first() {
    let mut base = base();
    Arc::make_mut(&mut base.resources[0]).protect = true;
    let state = replay(&base, &[done(None, &[], Some((3, entry("a", "9", &[]))))]);
    let state = state.expect("replays");
    assert_eq!(shape(&state), ["a 9", "a 1!", "b 2", "c 3"]);
    assert!(!state.resources[1].protect);
}

#[test]
fn a_rename_is_followed_by_all_references() {
    let state = replayed(&[done(None, &[0], Some((3, entry("z", "1", &[]))))]);
    assert_eq!(shape(&state), ["z 1", "b 2", "c 3"]);
    assert_eq!(state.resources[1].dependencies, [urn("z")]);
}

#[test]
fn a_step_without_an_end_stays_pending_once() {
    let keys = |entries: &[JournalEntry]| -> Vec<String> {
        let pending = replayed(entries).pending.into_iter();
        pending.map(|p| p.idempotency_key).collect()
    };
    let failed = |unresolved| JournalEntry::Failed {
        step: 0,
        unresolved,
    };
    assert_eq!(keys(&[begin(0, "k")]), ["k"]);
    assert_eq!(keys(&[begin(0, "k"), failed(true)]), ["k"]);
    assert_eq!(keys(&[begin(0, "k"), failed(false)]), [""; 0]);
    assert_eq!(keys(&[begin(0, "k"), done(Some(0), &[], None)]), [""; 0]);
    assert_eq!(keys(&[begin(0, "k"), failed(true), begin(1, "k")]), ["k"]);
    let mended = [
        begin(0, "k"),
        failed(true),
        begin(1, "k"),
        done(Some(1), &[], None),
    ];
    assert_eq!(keys(&mended), [""; 0]);
}

#[test]
fn pending_operations_of_the_base_stay_until_resolved() {
    let mut base = base();
    base.pending.push(PendingOperation {
        resource: Arc::new(entry("n", "", &[])),
        kind: PendingKind::Creating,
        idempotency_key: "old".to_owned(),
    });
    let count = |entries: &[JournalEntry]| replay(&base, entries).expect("replays").pending.len();
    let resolved = JournalEntry::Resolved { pending: 0 };
    assert_eq!(count(&[]), 1);
    assert_eq!(count(&[begin(0, "old")]), 1, "the repeat stands for both");
    assert_eq!(count(&[begin(0, "old"), resolved.clone()]), 1);
    assert_eq!(
        count(&[begin(0, "old"), resolved, done(Some(0), &[], None)]),
        0
    );
}

#[test]
fn outputs_replace_those_of_an_entry() {
    let outputs: lockgate_model::PropertyMap = [("x".to_owned(), true.into())].into();
    let state = replayed(&[
        keep(0),
        JournalEntry::Outputs {
            entry: EntryId(0),
            outputs: outputs.clone(),
        },
    ]);
    assert_eq!(state.resources[0].outputs, outputs);
}

#[test]
fn a_journal_of_another_base_is_refused() {
    let unknown = |id| ReplayError::UnknownEntry {
        record: 0,
        entry: EntryId(id),
    };
    for (entry, error) in [
        (keep(7), unknown(7)),
        (done(None, &[7], None), unknown(7)),
        (
            done(None, &[], Some((1, entry("n", "4", &[])))),
            ReplayError::EntryTwice {
                record: 0,
                entry: EntryId(1),
            },
        ),
        (
            done(Some(5), &[], None),
            ReplayError::UnknownStep { record: 0, step: 5 },
        ),
        (
            JournalEntry::Resolved { pending: 0 },
            ReplayError::UnknownPending {
                record: 0,
                pending: 0,
            },
        ),
    ] {
        assert_eq!(replay(&base(), &[entry]), Err(error));
    }
    let twice = [keep(0), keep(0)];
    assert!(replay(&base(), &twice).is_err());
}
