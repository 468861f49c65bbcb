//! Exactly one holder, and no write by a former one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use lockgate_engine::{Durability, Journal, JournalError};
use lockgate_state::{StateError, lease::LEASE_TTL};
use rustix::process::Signal;

use crate::support::{
    ChildProcess, TestClock, World, added, block_on, child_folder, listen, open_backend, say, thing,
};

const LATER: Duration = Duration::from_secs(LEASE_TTL.as_secs() + 1);

#[test]
fn of_fifty_racers_one_holds_the_lease_in_every_round() {
    const RACERS: usize = 50;
    const ROUNDS: u32 = 40;
    let world = Arc::new(World::new());
    let winners = Arc::new(AtomicU32::new(0));
    let barrier = Arc::new(Barrier::new(RACERS));
    let racers: Vec<_> = (0..RACERS)
        .map(|_| {
            let (world, winners, barrier) = (
                Arc::clone(&world),
                Arc::clone(&winners),
                Arc::clone(&barrier),
            );
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    barrier.wait();
                    let taken = world.backend.acquire(&world.stack, "race");
                    barrier.wait();
                    assert_eq!(winners.load(Ordering::SeqCst), round);
                    barrier.wait();
                    match taken {
                        Ok(lease) => {
                            winners.fetch_add(1, Ordering::SeqCst);
                            assert_eq!(lease.fencing(), u64::from(round) + 1);
                            lease.release().unwrap();
                        }
                        Err(StateError::Held { holder, .. }) => {
                            assert_eq!(holder.pid, std::process::id());
                        }
                        Err(other) => panic!("{other}"),
                    }
                    barrier.wait();
                    assert_eq!(winners.load(Ordering::SeqCst), round + 1);
                }
            })
        })
        .collect();
    for racer in racers {
        racer.join().unwrap();
    }
    assert_eq!(winners.load(Ordering::SeqCst), ROUNDS);
}

#[test]
fn a_conflict_names_the_holder_and_the_way_out() {
    let world = World::new();
    let lease = world.backend.acquire(&world.stack, "lockgate up").unwrap();
    let error = world.reopen().acquire(&world.stack, "other").err().unwrap();
    let diagnostic = error.to_diagnostic();
    for words in [
        "lockgate up",
        &format!("process {}", std::process::id()),
        "since 2023-11-14T22:13:20Z",
    ] {
        assert!(diagnostic.message.contains(words), "{}", diagnostic.message);
    }
    assert!(diagnostic.hints[0].contains("lockgate cancel"));
    lease.release().unwrap();
    assert_eq!(world.backend.holder(&world.stack).unwrap(), None);
}

#[test]
fn an_expired_lease_is_taken_over_and_its_holder_writes_nothing_more() {
    let world = World::new();
    let old = world.backend.acquire(&world.stack, "old").unwrap();
    let (_, journal) = world.backend.start_run(&old).unwrap();
    block_on(journal.append(vec![added(0, thing("a", "s"))], Durability::Durable)).unwrap();
    world.clock.advance(LATER);
    assert_eq!(world.backend.holder(&world.stack).unwrap(), None);

    let new = world.reopen().acquire(&world.stack, "new").unwrap();
    assert!(new.fencing() > old.fencing());
    let refused = block_on(journal.append(vec![added(1, thing("b", "s"))], Durability::Durable));
    assert!(matches!(refused, Err(JournalError::LeaseLost)));
    assert!(matches!(
        block_on(journal.commit()),
        Err(StateError::LeaseLost(_))
    ));
    assert!(matches!(old.renew(), Err(StateError::LeaseLost(_))));
    assert!(matches!(old.release(), Err(StateError::LeaseLost(_))));

    let (loaded, _journal) = world.reopen().start_run(&new).unwrap();
    assert_eq!(loaded.snapshot.resources.len(), 1, "acknowledged before");
    new.release().unwrap();
}

#[test]
fn a_commit_that_prepared_before_the_takeover_publishes_nothing() {
    let world = World::new();
    let old = world.backend.acquire(&world.stack, "old").unwrap();
    let (_, journal) = world.backend.start_run(&old).unwrap();
    block_on(journal.append(vec![added(0, thing("a", "s"))], Durability::Queued)).unwrap();
    world.backend.cancel(&world.stack).unwrap().unwrap();
    let before = fs_err::read(world.path("snapshot.json")).unwrap();
    assert!(matches!(
        block_on(journal.commit()),
        Err(StateError::LeaseLost(_))
    ));
    assert_eq!(fs_err::read(world.path("snapshot.json")).unwrap(), before);
    assert!(!world.path("snapshot.json.tmp").exists());
}

#[test]
fn renewal_keeps_a_lease_and_a_clock_set_back_does_not_lock_for_ever() {
    let world = World::new();
    let lease = world.backend.acquire(&world.stack, "up").unwrap();
    for _ in 0..5 {
        world.clock.advance(LEASE_TTL - Duration::from_secs(1));
        lease.renew().unwrap();
        assert!(world.backend.acquire(&world.stack, "other").is_err());
    }
    // A fresh clock is minutes behind the record.
    let behind = open_backend(world.folder.path(), &TestClock::new());
    behind.acquire(&world.stack, "other").unwrap();
}

#[test]
fn a_dead_holder_of_this_machine_is_replaced_at_once() {
    if let Some(folder) = child_folder() {
        return hold_until_told(&folder);
    }
    let world = World::new();
    let test = "lease::a_dead_holder_of_this_machine_is_replaced_at_once";
    let mut child = ChildProcess::start(test, world.folder.path(), &[]);
    assert_eq!(child.hear().as_deref(), Some("held"));
    assert!(matches!(
        world.backend.acquire(&world.stack, "other"),
        Err(StateError::Held { .. })
    ));
    child.signal(Signal::KILL);
    // Its files close a moment before it is dead.
    assert_eq!(child.hear(), None);
    child.await_end();
    world.backend.acquire(&world.stack, "other").unwrap();
}

#[test]
fn a_stopped_holder_that_wakes_up_after_a_takeover_is_refused() {
    if let Some(folder) = child_folder() {
        return hold_until_told(&folder);
    }
    let world = World::new();
    let test = "lease::a_stopped_holder_that_wakes_up_after_a_takeover_is_refused";
    let mut child = ChildProcess::start(test, world.folder.path(), &[]);
    assert_eq!(child.hear().as_deref(), Some("held"));
    child.signal(Signal::STOP);
    world.clock.advance(LATER);
    let lease = world.backend.acquire(&world.stack, "other").unwrap();
    child.signal(Signal::CONT);
    child.tell("append");
    assert_eq!(child.hear().as_deref(), Some("lease lost"));
    let (loaded, _journal) = world.backend.start_run(&lease).unwrap();
    assert!(loaded.snapshot.resources.is_empty());
}

/// The child: takes the lease, and tries to write when told to.
fn hold_until_told(folder: &std::path::Path) {
    let backend = open_backend(folder, &TestClock::new());
    let stack = lockgate_state::StackName::new("shop", "dev").unwrap();
    let lease = backend.acquire(&stack, "child").unwrap();
    let (_, journal) = backend.start_run(&lease).unwrap();
    say("held");
    if listen() != "append" {
        return;
    }
    match block_on(journal.append(vec![added(0, thing("a", "s"))], Durability::Durable)) {
        Ok(()) => say("written"),
        Err(JournalError::LeaseLost) => say("lease lost"),
        Err(other) => say(&other.to_string()),
    }
}

#[test]
fn processes_that_race_never_hold_the_lease_together() {
    const TEST: &str = "lease::processes_that_race_never_hold_the_lease_together";
    const PROCESSES: usize = 6;
    const TURNS: u32 = 20;
    if let Some(folder) = child_folder() {
        let backend = open_backend(&folder, &TestClock::new());
        let stack = lockgate_state::StackName::new("shop", "dev").unwrap();
        let counter = folder.join("counter");
        let mut turns = 0;
        while turns < TURNS {
            match backend.acquire(&stack, "race") {
                Ok(lease) => {
                    // Read, then write: two holders at once would lose a count.
                    let count: u32 = fs_err::read_to_string(&counter).unwrap().parse().unwrap();
                    std::thread::yield_now();
                    fs_err::write(&counter, (count + 1).to_string()).unwrap();
                    lease.release().unwrap();
                    turns += 1;
                }
                Err(StateError::Held { .. }) => std::thread::yield_now(),
                Err(other) => panic!("{other}"),
            }
        }
        return say("done");
    }
    let world = World::new();
    let counter = world.folder.path().join("counter");
    fs_err::write(&counter, "0").unwrap();
    let start = |_| ChildProcess::start(TEST, world.folder.path(), &[]);
    let mut children: Vec<_> = (0..PROCESSES).map(start).collect();
    for child in &mut children {
        assert_eq!(child.hear().as_deref(), Some("done"));
    }
    let count: u32 = fs_err::read_to_string(&counter).unwrap().parse().unwrap();
    assert_eq!(count, PROCESSES as u32 * TURNS);
    let lease = world.backend.acquire(&world.stack, "after").unwrap();
    assert_eq!(lease.fencing(), u64::from(count) + 1);
}

#[test]
fn a_damaged_lease_record_is_rebuilt_above_every_number_in_use() {
    let world = World::new();
    for _ in 0..3 {
        let lease = world.backend.acquire(&world.stack, "up").unwrap();
        lease.release().unwrap();
    }
    let old = world.backend.acquire(&world.stack, "old").unwrap();
    let (_, journal) = world.backend.start_run(&old).unwrap();
    block_on(journal.append(vec![added(0, thing("a", "s"))], Durability::Durable)).unwrap();
    fs_err::write(world.path("lease"), b"").unwrap();
    assert_eq!(world.backend.holder(&world.stack).unwrap(), None);
    assert_eq!(world.backend.list_stacks(None).unwrap().len(), 1);
    let new = world.backend.acquire(&world.stack, "new").unwrap();
    assert!(new.fencing() > old.fencing());
    let refused = block_on(journal.append(vec![added(1, thing("b", "s"))], Durability::Durable));
    assert!(matches!(refused, Err(JournalError::LeaseLost)));
    let (loaded, _journal) = world.backend.start_run(&new).unwrap();
    assert_eq!(loaded.snapshot.resources.len(), 1);
}
