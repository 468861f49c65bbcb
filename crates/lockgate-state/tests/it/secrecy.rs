//! No secret in any file, and unchanged secrets do not change the state.

use std::sync::Arc;

use std::path::Path;

use lockgate_engine::{Durability, Journal};
use lockgate_model::JournalEntry;
use lockgate_model::resource::PendingKind;

use crate::support::{World, added, block_on, thing};

const CANARY: &str = "canary-7f3a9c";

/// Everything below the folder is for its owner only.
fn assert_private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
        if path.is_dir() {
            assert_private(&path);
        }
    }
}

fn files_with(folder: &Path, needle: &str, found: &mut Vec<String>, seen: &mut usize) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_with(&path, needle, found, seen);
            continue;
        }
        *seen += 1;
        let bytes = fs_err::read(&path).unwrap();
        if bytes.windows(needle.len()).any(|w| w == needle.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn no_file_holds_a_secret_at_any_moment() {
    let world = World::new();
    let folder = world.folder.path().to_owned();
    let check = move || {
        let (mut found, mut seen) = (Vec::new(), 0);
        files_with(&folder, CANARY, &mut found, &mut seen);
        assert!(found.is_empty(), "{found:?}");
        assert!(seen > 3);
        let mut plain = Vec::new();
        files_with(&folder, "visible-name", &mut plain, &mut seen);
        plain.len()
    };
    let lease = world.backend.acquire(&world.stack, "up").unwrap();
    let (_, journal) = world.backend.start_run(&lease).unwrap();
    let begin = JournalEntry::Begin {
        step: 1,
        kind: PendingKind::Creating,
        resource: Arc::new(thing("visible-name", CANARY)),
        idempotency_key: "k".to_owned(),
    };
    let outputs = JournalEntry::Outputs {
        entry: lockgate_model::EntryId(0),
        outputs: thing("visible-name", CANARY).outputs,
    };
    let entries = vec![added(0, thing("visible-name-2", CANARY)), begin, outputs];
    block_on(journal.append(entries, Durability::Durable)).unwrap();
    assert_eq!(check(), 1, "the search finds what is not secret");
    assert_private(world.folder.path());
    block_on(journal.commit()).unwrap();
    assert_eq!(check(), 1);
    assert_private(world.folder.path());
}

#[test]
fn a_change_of_one_resource_leaves_the_cells_of_others_alone() {
    let world = World::new();
    let lease = world.backend.acquire(&world.stack, "up").unwrap();
    let (_, journal) = world.backend.start_run(&lease).unwrap();
    let entries = vec![added(0, thing("a", CANARY)), added(1, thing("b", CANARY))];
    block_on(journal.append(entries, Durability::Durable)).unwrap();
    block_on(journal.commit()).unwrap();
    let cells = |path: &Path| {
        let text = fs_err::read_to_string(path).unwrap();
        let parts = text.split("\"ciphertext\":\"").skip(1);
        parts
            .map(|part| part.split('"').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = cells(&world.path("snapshot.json"));
    assert_eq!(before.len(), 4);

    // Another process: nothing is remembered but what the state holds.
    let backend = world.reopen();
    let (_, journal) = backend.start_run(&lease).unwrap();
    let entries = vec![added(2, thing("c", "new"))];
    block_on(journal.append(entries, Durability::Durable)).unwrap();
    block_on(journal.commit()).unwrap();
    let after = cells(&world.path("snapshot.json"));
    assert_eq!(after.len(), 6);
    assert!(before.iter().all(|cell| after.contains(cell)));
    let mut distinct = after.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), after.len(), "equal secrets look different");
}
