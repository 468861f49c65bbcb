//! Kills the process at every fault point it passes, and looks at what is left.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockgate_engine::{Durability, Journal};
use lockgate_state::{Backend, FAULT_POINTS, FaultHook, Keyring, Lease, RemoveMode, StackName};
use rustix::process::Signal;

use crate::backend::entry;
use crate::support::{
    ChildProcess, TestClock, TestRng, World, added, block_on, child_folder, new_folder,
    open_backend, say, thing,
};

/// How many fault points the child passes before it dies.
const DIE_AT: &str = "LOCKGATE_STATE_TEST_DIE_AT";

/// A run: lease, two durable steps, commit, history, release. Says what was acknowledged.
fn run(backend: &Backend, stack: &StackName, say: fn(&str)) -> Lease {
    let lease = backend.acquire(stack, "child").unwrap();
    let (loaded, journal) = backend.start_run(&lease).unwrap();
    let first = loaded.snapshot.resources.len() as u64;
    for id in first..first + 2 {
        let entry = added(id, thing(&format!("r{id}"), "s"));
        block_on(journal.append(vec![entry], Durability::Durable)).unwrap();
        say(&format!("acknowledged r{id}"));
    }
    block_on(journal.commit()).unwrap();
    let version = backend.next_history_version(stack).unwrap();
    backend.save_history(&lease, &entry(version)).unwrap();
    say(&format!("acknowledged history {version}"));
    lease
}

/// In a child: a hook that kills the process at the point the parent chose.
fn deadly_hook() -> FaultHook {
    let die_at: usize = std::env::var_os(DIE_AT)
        .and_then(|text| text.to_str()?.parse().ok())
        .unwrap();
    let passed = AtomicUsize::new(0);
    Arc::new(move |point| {
        say(&format!("at {point}"));
        if passed.fetch_add(1, Ordering::SeqCst) == die_at {
            let this = rustix::process::getpid();
            rustix::process::kill_process(this, Signal::KILL).unwrap();
        }
    })
}

/// What a child said before it died.
#[derive(Default)]
struct Said {
    acknowledged: BTreeSet<String>,
    points: Vec<String>,
    done: bool,
}

fn listen_to(test: &str, folder: &Path, die_at: usize) -> Said {
    let at = die_at.to_string();
    let mut child = ChildProcess::start(test, folder, &[(DIE_AT, &at)]);
    let mut said = Said::default();
    while let Some(line) = child.hear() {
        if let Some(what) = line.strip_prefix("acknowledged ") {
            said.acknowledged.insert(what.to_owned());
        } else if let Some(point) = line.strip_prefix("at ") {
            assert!(FAULT_POINTS.contains(&point), "{point}");
            said.points.push(point.to_owned());
        }
        said.done |= line == "done";
    }
    child.child.wait().unwrap();
    assert_eq!(said.done, said.points.len() <= die_at, "died at {die_at}");
    said
}

/// What the stack holds, in the words of [`run`].
fn found(backend: &Backend, stack: &StackName) -> BTreeSet<String> {
    let loaded = backend.load(stack).unwrap();
    let states = loaded.snapshot.resources.iter();
    let names = states.map(|state| state.urn.as_ref().unwrap().name().to_owned());
    let page = backend.history(stack, None, 10).unwrap();
    let history = page
        .entries
        .iter()
        .map(|e| format!("history {}", e.version));
    names.chain(history).collect()
}

#[test]
fn killed_anywhere_the_next_run_finds_everything_acknowledged() {
    const TEST: &str = "crash::killed_anywhere_the_next_run_finds_everything_acknowledged";
    if let Some(folder) = child_folder() {
        let hook = Some(deadly_hook());
        let backend = open_backend(&folder, &TestClock::new()).with_fault_hook(hook);
        let lease = run(&backend, &StackName::new("shop", "dev").unwrap(), say);
        lease.release().unwrap();
        return say("done");
    }
    for die_at in 0.. {
        let world = World::new();
        // A state to start from, left by a run that died: recovery is part of the scenario.
        let lease = world.backend.acquire(&world.stack, "dies").unwrap();
        let (_, journal) = world.backend.start_run(&lease).unwrap();
        let entries = vec![added(0, thing("r0", "s"))];
        block_on(journal.append(entries, Durability::Durable)).unwrap();
        drop(journal);
        lease.release().unwrap();

        let said = listen_to(TEST, world.folder.path(), die_at);
        // The dead holder is of this machine: no wait, no help.
        let lease = world.backend.acquire(&world.stack, "next").unwrap();
        let (_, journal) = world.backend.start_run(&lease).unwrap();
        let found = found(&world.backend, &world.stack);
        assert!(found.contains("r0"), "{die_at}: {found:?}");
        assert!(found.is_superset(&said.acknowledged), "{die_at}: {found:?}");
        block_on(journal.commit()).unwrap();
        lease.release().unwrap();
        if said.done {
            assert!(said.points.len() > 60, "{:?}", said.points);
            break;
        }
    }
}

#[test]
fn a_life_killed_anywhere_can_be_lived_again() {
    const TEST: &str = "crash::a_life_killed_anywhere_can_be_lived_again";
    let stack = StackName::new("shop", "dev").unwrap();
    if let Some(folder) = child_folder() {
        let hook = deadly_hook();
        let keyring = Keyring::new(&folder, None, TestRng::new());
        let keyring = Arc::new(keyring.with_fault_hook(Some(Arc::clone(&hook))));
        let backend = Backend::open(&folder, keyring, TestClock::new()).unwrap();
        let backend = backend.with_fault_hook(Some(hook));
        let secrets = backend.keyring().create_local().unwrap();
        backend.create_stack(&stack, &secrets).unwrap();
        let lease = run(&backend, &stack, say);
        backend.remove_stack(lease, RemoveMode::Force).unwrap();
        return say("done");
    }
    let mut points = BTreeSet::new();
    for die_at in 0.. {
        let folder = new_folder();
        let said = listen_to(TEST, folder.path(), die_at);
        points.extend(said.points);
        let backend = open_backend(folder.path(), &TestClock::new());
        if backend.exists(&stack) {
            assert!(found(&backend, &stack).is_superset(&said.acknowledged));
        } else {
            let secrets = backend.keyring().create_local().unwrap();
            backend.create_stack(&stack, &secrets).unwrap();
        }
        assert_eq!(backend.list_stacks(None).unwrap().len(), 1);
        let lease = run(&backend, &stack, |_| {});
        backend.remove_stack(lease, RemoveMode::Force).unwrap();
        assert!(backend.list_stacks(None).unwrap().is_empty());
        if said.done {
            break;
        }
    }
    let all: BTreeSet<String> = FAULT_POINTS.iter().map(|p| (*p).to_owned()).collect();
    let missing: Vec<_> = all.difference(&points).collect();
    assert!(missing.is_empty(), "never passed: {missing:?}");
}

#[test]
fn a_rename_killed_anywhere_leaves_a_sound_stack_and_can_be_done_again() {
    const TEST: &str = "crash::a_rename_killed_anywhere_leaves_a_sound_stack_and_can_be_done_again";
    let (old, new) = (
        StackName::new("shop", "dev").unwrap(),
        StackName::new("shop", "prod").unwrap(),
    );
    if let Some(folder) = child_folder() {
        let hook = Some(deadly_hook());
        let backend = open_backend(&folder, &TestClock::new()).with_fault_hook(hook);
        let lease = backend.acquire(&old, "child").unwrap();
        backend.rename_stack(lease, &new).unwrap();
        return say("done");
    }
    let sound = |backend: &Backend, stack: &StackName| {
        let loaded = backend.load(stack).unwrap();
        let urns: Vec<_> = loaded
            .snapshot
            .resources
            .iter()
            .flat_map(|r| &r.urn)
            .collect();
        assert_eq!(urns.len(), 2);
        assert!(
            urns.iter().all(|urn| urn.stack() == stack.stack()),
            "{urns:?}"
        );
        let text = loaded.snapshot.resources[0].inputs["secret"].without_secrets();
        assert_eq!(text, "secret-r0".into());
        assert_eq!(
            found(backend, stack)
                .iter()
                .filter(|f| f.starts_with("history"))
                .count(),
            1
        );
    };
    for die_at in 0.. {
        let world = World::new();
        let lease = world.backend.acquire(&old, "run").unwrap();
        let (_, journal) = world.backend.start_run(&lease).unwrap();
        for (id, name) in [(0, "r0"), (1, "r1")] {
            let entry = added(id, thing(name, &format!("secret-{name}")));
            block_on(journal.append(vec![entry], Durability::Durable)).unwrap();
        }
        block_on(journal.commit()).unwrap();
        drop(journal);
        world.backend.save_history(&lease, &entry(1)).unwrap();
        lease.release().unwrap();

        let said = listen_to(TEST, world.folder.path(), die_at);
        let (has_old, has_new) = (world.backend.exists(&old), world.backend.exists(&new));
        assert!(has_old || has_new, "the stack is lost at {die_at}");
        for stack in [&old, &new] {
            if world.backend.exists(stack) {
                sound(&world.backend, stack);
            }
        }
        if said.done {
            assert_eq!((has_old, has_new), (false, true));
            assert!(said.points.len() > 10, "{:?}", said.points);
            break;
        }
        if has_old {
            if has_new {
                let lease = world.backend.acquire(&new, "again").unwrap();
                world
                    .backend
                    .remove_stack(lease, RemoveMode::Force)
                    .unwrap();
            }
            let lease = world.backend.acquire(&old, "again").unwrap();
            world.backend.rename_stack(lease, &new).unwrap();
            sound(&world.backend, &new);
        }
    }
}
