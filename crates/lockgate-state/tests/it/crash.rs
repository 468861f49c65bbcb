//! Kills the process at every fault point it passes, and looks at what is left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockgate_engine::{Durability, Journal};
use lockgate_state::{Backend, FAULT_POINTS, StackName};
use rustix::process::Signal;

use crate::support::{
    ChildProcess, TestClock, World, added, block_on, child_folder, open_backend, say, thing,
};

/// How many fault points the child passes before it dies.
const DIE_AT: &str = "LOCKGATE_STATE_TEST_DIE_AT";

/// A whole run: lease, two durable steps, commit, release. Says what was acknowledged.
fn scenario(backend: &Backend, stack: &StackName) {
    let lease = backend.acquire(stack, "child").unwrap();
    let (loaded, journal) = backend.start_run(&lease).unwrap();
    let first = loaded.snapshot.resources.len() as u64;
    for id in first..first + 2 {
        let entry = added(id, thing(&format!("r{id}"), "s"));
        block_on(journal.append(vec![entry], Durability::Durable)).unwrap();
        say(&format!("acknowledged r{id}"));
    }
    block_on(journal.commit()).unwrap();
    say("committed");
    lease.release().unwrap();
    say("done");
}

#[test]
fn killed_anywhere_the_next_run_finds_everything_acknowledged() {
    const TEST: &str = "crash::killed_anywhere_the_next_run_finds_everything_acknowledged";
    if let Some(folder) = child_folder() {
        let die_at: usize = std::env::var_os(DIE_AT)
            .and_then(|text| text.to_str()?.parse().ok())
            .unwrap();
        let passed = AtomicUsize::new(0);
        let backend = open_backend(&folder, &TestClock::new()).with_fault_hook(Some(Arc::new(
            move |point| {
                say(&format!("at {point}"));
                if passed.fetch_add(1, Ordering::SeqCst) == die_at {
                    let this = rustix::process::getpid();
                    rustix::process::kill_process(this, Signal::KILL).unwrap();
                }
            },
        )));
        return scenario(&backend, &StackName::new("shop", "dev").unwrap());
    }
    let mut points = BTreeSet::new();
    let mut deaths = 0;
    for die_at in 0.. {
        let world = World::new();
        // A state to start from, left by a run that died: recovery is part of the scenario.
        {
            let lease = world.backend.acquire(&world.stack, "dies").unwrap();
            let (_, journal) = world.backend.start_run(&lease).unwrap();
            let entry = added(0, thing("r0", "s"));
            block_on(journal.append(vec![entry], Durability::Durable)).unwrap();
            drop(journal);
            lease.release().unwrap();
        }
        let at = die_at.to_string();
        let mut child = ChildProcess::start(TEST, world.folder.path(), &[(DIE_AT, &at)]);
        let (mut acknowledged, mut done) = (BTreeSet::from(["r0".to_owned()]), false);
        while let Some(said) = child.hear() {
            if let Some(name) = said.strip_prefix("acknowledged ") {
                acknowledged.insert(name.to_owned());
            } else if let Some(point) = said.strip_prefix("at ") {
                points.insert(point.to_owned());
            }
            done |= said == "done";
        }
        child.child.wait().unwrap();
        deaths += usize::from(!done);

        // The dead holder is of this machine: no wait, no help.
        let lease = world.backend.acquire(&world.stack, "next").unwrap();
        let (loaded, journal) = world.backend.start_run(&lease).unwrap();
        let found: BTreeSet<String> = loaded
            .snapshot
            .resources
            .iter()
            .map(|state| state.urn.as_ref().unwrap().name().to_owned())
            .collect();
        assert!(found.is_superset(&acknowledged), "{at}: {found:?}");
        block_on(journal.commit()).unwrap();
        lease.release().unwrap();
        if done {
            break;
        }
    }
    assert!(deaths > 40, "{deaths}");
    for point in &points {
        assert!(FAULT_POINTS.contains(&point.as_str()), "{point}");
    }
    for subject in ["journal.", "snapshot.", "backup.", "lease."] {
        assert!(points.iter().any(|p| p.starts_with(subject)), "{subject}");
    }
}
