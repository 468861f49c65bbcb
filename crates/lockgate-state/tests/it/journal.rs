//! What survives of a run, and what damage does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use lockgate_engine::{Durability, Journal};
use lockgate_model::resource::PendingKind;
use lockgate_model::{EntryId, JournalEntry};
use lockgate_state::StateError;

use crate::support::{World, added, block_on, thing, urn};

/// Runs to the point where `names` are durable, then dies without a commit.
fn die_after(world: &World, names: &[&str]) {
    let lease = world.backend.acquire(&world.stack, "dies").unwrap();
    let (loaded, journal) = world.backend.start_run(&lease).unwrap();
    let first = loaded.snapshot.resources.len() as u64;
    for (id, name) in (first..).zip(names) {
        let entries = vec![added(id, thing(name, "s"))];
        block_on(journal.append(entries, Durability::Durable)).unwrap();
    }
    drop(journal);
    lease.release().unwrap();
}

fn names(world: &World) -> Result<Vec<String>, StateError> {
    let loaded = world.reopen().load(&world.stack)?;
    let states = loaded.snapshot.resources.iter();
    Ok(states
        .map(|state| state.urn.as_ref().unwrap().name().to_owned())
        .collect())
}

#[test]
fn a_committed_run_is_the_snapshot_and_leaves_no_journal() {
    let world = World::new();
    let lease = world.backend.acquire(&world.stack, "up").unwrap();
    let (loaded, journal) = world.backend.start_run(&lease).unwrap();
    assert!(loaded.recovered.is_none());
    block_on(async {
        let entries = vec![added(0, thing("a", "s")), added(1, thing("b", "s"))];
        journal.append(entries, Durability::Durable).await.unwrap();
        let finish = vec![JournalEntry::Finished];
        journal.append(finish, Durability::Queued).await.unwrap();
        let committed = journal.commit().await.unwrap();
        assert!(committed.changed);
        assert_eq!(committed.snapshot.resources.len(), 2);
        let late = journal.append(Vec::new(), Durability::Durable).await;
        assert!(late.is_err(), "a committed journal takes nothing more");
    });
    assert!(!world.path("journal-0000000001").exists());
    assert!(world.path("snapshot.json.bak").exists());
    assert_eq!(names(&world).unwrap(), ["a", "b"]);
    // A second run under the same lease.
    let (_, journal) = world.backend.start_run(&lease).unwrap();
    block_on(journal.append(vec![added(2, thing("c", "s"))], Durability::Durable)).unwrap();
    block_on(journal.commit()).unwrap();
    assert_eq!(names(&world).unwrap(), ["c", "a", "b"]);
}

#[test]
fn a_run_that_changes_nothing_writes_nothing() {
    let world = World::new();
    die_after(&world, &["a"]);
    let lease = world.backend.acquire(&world.stack, "fold").unwrap();
    drop(world.backend.start_run(&lease).unwrap());
    let before = fs_err::read(world.path("snapshot.json")).unwrap();
    let (_, journal) = world.backend.start_run(&lease).unwrap();
    let keep = vec![JournalEntry::Keep { entry: EntryId(0) }];
    block_on(journal.append(keep, Durability::Queued)).unwrap();
    assert!(!block_on(journal.commit()).unwrap().changed);
    assert_eq!(fs_err::read(world.path("snapshot.json")).unwrap(), before);
}

#[test]
fn a_dead_run_is_recovered_with_its_pending_operations() {
    let world = World::new();
    let lease = world.backend.acquire(&world.stack, "dies").unwrap();
    let (_, journal) = world.backend.start_run(&lease).unwrap();
    let begin = JournalEntry::Begin {
        step: 1,
        kind: PendingKind::Creating,
        resource: Arc::new(thing("b", "s")),
        idempotency_key: "key-1".to_owned(),
    };
    let entries = vec![added(0, thing("a", "s")), begin];
    block_on(journal.append(entries, Durability::Durable)).unwrap();
    drop(journal);
    lease.release().unwrap();

    for _ in 0..2 {
        let loaded = world.backend.load(&world.stack).unwrap();
        assert_eq!(loaded.recovered.unwrap().entries, 2);
        assert_eq!(loaded.snapshot.pending[0].idempotency_key, "key-1");
        assert_eq!(loaded.snapshot.pending[0].resource.urn, Some(urn("b")));
    }
    let lease = world.backend.acquire(&world.stack, "next").unwrap();
    let (loaded, _journal) = world.backend.start_run(&lease).unwrap();
    assert!(loaded.recovered.is_some());
    let again = world.backend.load(&world.stack).unwrap();
    assert!(again.recovered.is_none(), "folded into the snapshot");
    assert_eq!(again.snapshot, loaded.snapshot);
}

#[test]
fn a_journal_cut_or_altered_at_any_byte_gives_a_prefix_or_is_refused() {
    let world = World::new();
    die_after(&world, &["a", "b", "c"]);
    let path = world.journal_path();
    let whole = fs_err::read(&path).unwrap();
    let mut refused = 0;
    for at in 0..whole.len() {
        fs_err::write(&path, &whole[..at]).unwrap();
        let found = names(&world).unwrap();
        assert_eq!(found, ["a", "b", "c"][..found.len()], "cut at {at}");

        let mut altered = whole.clone();
        altered[at] ^= 0x40;
        fs_err::write(&path, &altered).unwrap();
        match names(&world) {
            Ok(found) => assert_eq!(found, ["a", "b"], "byte {at}: only the last batch"),
            Err(StateError::Damaged { path: named, .. }) => {
                assert_eq!(named, path);
                refused += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > whole.len() / 2);
}

#[test]
fn a_snapshot_cut_or_altered_at_any_byte_is_refused() {
    let world = World::new();
    let path = world.path("snapshot.json");
    let whole = fs_err::read(&path).unwrap();
    for at in 0..whole.len() {
        fs_err::write(&path, &whole[..at]).unwrap();
        assert!(names(&world).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut altered = whole.clone();
            altered[at] ^= 1 << bit;
            fs_err::write(&path, &altered).unwrap();
            let error = names(&world).err().unwrap_or_else(|| panic!("byte {at}"));
            let known = matches!(error, StateError::Damaged { .. } | StateError::Newer { .. });
            assert!(known, "byte {at}: {error}");
        }
    }
}

#[test]
fn an_older_copy_put_back_is_refused_until_repaired() {
    let world = World::new();
    let first = fs_err::read(world.path("snapshot.json")).unwrap();
    die_after(&world, &["a"]);
    let lease = world.backend.acquire(&world.stack, "fold").unwrap();
    drop(world.backend.start_run(&lease).unwrap());
    fs_err::write(world.path("snapshot.json"), &first).unwrap();
    let error = names(&world).unwrap_err();
    assert!(
        error.to_string().contains("the newest one was 2"),
        "{error}"
    );
    assert!(error.to_diagnostic().hints[0].contains("lockgate stack repair"));
    world.backend.repair(&lease).unwrap();
    assert_eq!(names(&world).unwrap(), Vec::<String>::new());
}

#[test]
fn repair_saves_what_is_readable_and_keeps_the_rest_beside() {
    let world = World::new();
    die_after(&world, &["a", "b", "c"]);
    let path = world.journal_path();
    let mut bytes = fs_err::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&path, &bytes).unwrap();
    assert!(names(&world).is_err());
    let lease = world.backend.acquire(&world.stack, "repair").unwrap();
    assert!(world.backend.start_run(&lease).is_err());
    let report = world.backend.repair(&lease).unwrap();
    assert_eq!(report.entries_saved, 1);
    assert!(report.entries_lost && !report.used_backup);
    assert_eq!(fs_err::read(&report.kept[0]).unwrap(), bytes);
    assert_eq!(names(&world).unwrap(), ["a"]);

    // A broken snapshot falls back to the backup.
    let good = fs_err::read(world.path("snapshot.json")).unwrap();
    fs_err::write(world.path("snapshot.json.bak"), &good).unwrap();
    fs_err::write(world.path("snapshot.json"), &good[..good.len() - 3]).unwrap();
    let report = world.backend.repair(&lease).unwrap();
    assert!(report.used_backup);
    assert_eq!(names(&world).unwrap(), ["a"]);
    drop(world.backend.start_run(&lease).unwrap());
}

#[test]
fn an_inconsistent_result_is_never_written() {
    let world = World::new();
    let lease = world.backend.acquire(&world.stack, "up").unwrap();
    let before = fs_err::read(world.path("snapshot.json")).unwrap();
    let (_, journal) = world.backend.start_run(&lease).unwrap();
    let mut orphan = thing("a", "s");
    orphan.parent = Some(urn("gone"));
    block_on(journal.append(vec![added(0, orphan)], Durability::Queued)).unwrap();
    let error = block_on(journal.commit()).unwrap_err();
    assert!(error.to_string().contains("as its parent"), "{error}");
    assert_eq!(fs_err::read(world.path("snapshot.json")).unwrap(), before);
}

#[test]
fn appends_that_come_while_the_disk_is_busy_share_one_fsync() {
    const STEPS: usize = 500;
    let world = World::new();
    let fsyncs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&fsyncs);
    let (open, gate) = std::sync::mpsc::sync_channel::<()>(1);
    let gate = parking_lot::Mutex::new(gate);
    let backend = world.reopen().with_fault_hook(Some(Arc::new(move |point| {
        // The first fsync takes until the test says so.
        if point == "journal.fsync.before" && counter.fetch_add(1, Ordering::SeqCst) == 0 {
            gate.lock().recv().unwrap();
        }
    })));
    let lease = backend.acquire(&world.stack, "up").unwrap();
    let (_, journal) = backend.start_run(&lease).unwrap();
    block_on(async {
        // Without a cooperation budget, so that one poll sends them all.
        let mut all = tokio::task::unconstrained(join_all((0..STEPS).map(|id| {
            let entry = added(id as u64, thing(&format!("r{id}"), "s"));
            journal.append(vec![entry], Durability::Durable)
        })));
        assert!(futures_util::poll!(&mut all).is_pending(), "all are sent");
        open.send(()).unwrap();
        assert!(all.await.into_iter().all(|result| result.is_ok()));
    });
    assert!(fsyncs.load(Ordering::SeqCst) <= 2);
    drop(journal);
    let recovered = world.reopen().load(&world.stack).unwrap();
    assert_eq!(recovered.recovered.unwrap().entries, STEPS);
}
