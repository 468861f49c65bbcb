//! Stacks, history, export and import.

use std::collections::BTreeMap;

use lockgate_diag::Secret;
use lockgate_engine::{Durability, Journal};
use lockgate_model::{Digest, StepOp, Timestamp, Value};
use lockgate_state::deployment::DeploymentError;
use lockgate_state::{
    Backend, ConfigEntry, ExportedSecrets, ForeignUrns, HistoryEntry, Keyring, RemoveMode, RunKind,
    RunResult, SecretsError, StackName, StateError,
};

use crate::support::{TestRng, World, added, block_on, open_backend, thing};

fn run_with(world: &World, names: &[&str]) {
    let lease = world.backend.acquire(&world.stack, "up").unwrap();
    let (loaded, journal) = world.backend.start_run(&lease).unwrap();
    let first = loaded.snapshot.resources.len() as u64;
    let entries = (first..).zip(names);
    let entries = entries.map(|(id, name)| added(id, thing(name, "canary")));
    block_on(journal.append(entries.collect(), Durability::Durable)).unwrap();
    block_on(journal.commit()).unwrap();
    lease.release().unwrap();
}

#[test]
fn stacks_are_made_listed_and_removed() {
    let world = World::new();
    let secrets = world.backend.keyring().create_local().unwrap();
    let dots = StackName::new("shop", "..").unwrap();
    world.backend.create_stack(&dots, &secrets).unwrap();
    assert!(matches!(
        world.backend.create_stack(&dots, &secrets),
        Err(StateError::StackExists(_))
    ));
    let stacks = world.backend.list_stacks(None).unwrap();
    let names: Vec<String> = stacks.iter().map(|s| s.name.to_string()).collect();
    assert_eq!(names, ["shop/..", "shop/dev"]);
    assert!(stacks[0].updated.is_some());
    assert!(world.backend.list_stacks(Some("none")).unwrap().is_empty());

    run_with(&world, &["a"]);
    let lease = world.backend.acquire(&world.stack, "rm").unwrap();
    assert!(matches!(
        world.backend.remove_stack(lease, RemoveMode::Empty),
        Err(StateError::NotEmpty { resources: 1, .. })
    ));
    let lease = world.backend.acquire(&world.stack, "rm").unwrap();
    world
        .backend
        .remove_stack(lease, RemoveMode::Force)
        .unwrap();
    assert!(!world.backend.exists(&world.stack));
    assert!(matches!(
        world.backend.load(&world.stack),
        Err(StateError::NoStack(_))
    ));
    assert!(matches!(
        world.backend.acquire(&world.stack, "up"),
        Err(StateError::NoStack(_))
    ));
    world.backend.create_stack(&world.stack, &secrets).unwrap();
    assert!(
        world
            .backend
            .load(&world.stack)
            .unwrap()
            .snapshot
            .resources
            .is_empty()
    );
}

#[test]
fn newer_formats_are_refused_before_anything_is_touched() {
    let world = World::new();
    let path = world.path("snapshot.json");
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replacen("{\"format\":1", "{\"format\":2", 1)).unwrap();
    assert!(matches!(
        world.backend.load(&world.stack),
        Err(StateError::Newer { found: 2, .. })
    ));
    fs_err::write(world.folder.path().join("meta"), "{\"format\":9}\n").unwrap();
    let keyring = std::sync::Arc::clone(world.backend.keyring());
    let clock = crate::support::TestClock::new();
    let opened = lockgate_state::Backend::open(world.folder.path(), keyring, clock);
    assert!(matches!(opened, Err(StateError::Newer { found: 9, .. })));
}

pub(crate) fn entry(version: u64) -> HistoryEntry {
    HistoryEntry {
        version,
        kind: RunKind::Update,
        start: Timestamp::from_secs(1_700_000_000),
        end: None,
        message: "ship it".to_owned(),
        environment: BTreeMap::from([("git.head".to_owned(), "abc".to_owned())]),
        config: BTreeMap::from([
            ("shop:size".to_owned(), ConfigEntry::Plain("3".to_owned())),
            (
                "shop:key".to_owned(),
                ConfigEntry::Secure("v1:a:b".to_owned()),
            ),
        ]),
        result: RunResult::InProgress,
        resource_changes: BTreeMap::from([(StepOp::CreateReplacement, 2), (StepOp::Same, 5)]),
        images: BTreeMap::from([(
            "web".to_owned(),
            Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(),
        )]),
    }
}

#[test]
fn history_is_paged_newest_first_and_an_entry_can_be_finished() {
    let world = World::new();
    let lease = world.backend.acquire(&world.stack, "up").unwrap();
    for _ in 0..25 {
        let version = world.backend.next_history_version(&world.stack).unwrap();
        world.backend.save_history(&lease, &entry(version)).unwrap();
    }
    let finished = HistoryEntry {
        result: RunResult::Succeeded,
        end: Some(Timestamp::from_secs(1_700_000_009)),
        ..entry(25)
    };
    world.backend.save_history(&lease, &finished).unwrap();
    let (mut seen, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = world.backend.history(&world.stack, before, 10).unwrap();
        seen.extend(page.entries);
        pages += 1;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    let versions: Vec<u64> = seen.iter().map(|e| e.version).collect();
    assert_eq!(versions, (1..=25).rev().collect::<Vec<_>>());
    assert_eq!(seen[0], finished);
    assert_eq!(seen[24], entry(1));
    assert_eq!(world.backend.find_history(&world.stack, 26).unwrap(), None);
}

#[test]
fn an_export_imports_into_another_stack_with_its_secrets() {
    let world = World::new();
    run_with(&world, &["a", "b"]);
    let export = |shown| {
        let mut out = Vec::new();
        world.backend.export(&world.stack, shown, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let cells = export(ExportedSecrets::Encrypted);
    let shown = export(ExportedSecrets::Shown);
    assert!(!cells.contains("canary"));
    assert!(shown.contains("canary"));
    let original = world.backend.load(&world.stack).unwrap();

    for text in [cells, shown] {
        let backend = open_backend(world.folder.path(), &world.clock);
        let name = StackName::new("shop", "copy").unwrap();
        let own = backend.keyring().create_local().unwrap();
        backend.create_stack(&name, &own).unwrap();
        let lease = backend.acquire(&name, "import").unwrap();
        let refused = backend.import(&lease, &text, ForeignUrns::Refuse);
        assert!(refused.unwrap_err().to_string().contains("belongs to"));
        backend.import(&lease, &text, ForeignUrns::Allow).unwrap();
        let loaded = backend.load(&name).unwrap();
        assert_eq!(loaded.snapshot.resources, original.snapshot.resources);
        assert_eq!(loaded.secrets.config(), own.config());
        let file = world.folder.path().join("stacks/shop/copy/snapshot.json");
        assert!(!fs_err::read_to_string(file).unwrap().contains("canary"));
        backend.remove_stack(lease, RemoveMode::Force).unwrap();
    }
}

#[test]
fn a_stack_can_change_its_manager_and_keys_kept_as_text_follow() {
    let world = World::new();
    let old = world.backend.load(&world.stack).unwrap().secrets;
    let cell = old.encrypt("\"canary\"").unwrap();
    let trigger = format!(
        "{{\"4dabf18193072939515e22adb298388d\":\"1b47061264138c4ac30d75fd1eb44270\",\"ciphertext\":\"{cell}\"}}"
    );
    let mut state = thing("a", "canary");
    state.extra.insert("replacementTrigger".to_owned(), trigger);
    let snapshot = lockgate_model::Snapshot {
        resources: vec![state.into()],
        ..Default::default()
    };
    let lease = world.backend.acquire(&world.stack, "change").unwrap();
    world.backend.write_snapshot(&lease, &snapshot).unwrap();
    let new = world.backend.keyring().create_local().unwrap();
    world.backend.change_secrets(&lease, &new).unwrap();
    let loaded = world.backend.load(&world.stack).unwrap();
    assert_eq!(loaded.secrets.config(), new.config());
    assert_eq!(
        loaded.snapshot.resources[0].inputs,
        snapshot.resources[0].inputs
    );
    let kept = &loaded.snapshot.resources[0].extra["replacementTrigger"];
    assert!(!kept.contains(&cell) && !kept.contains("canary"));
    let mut out = Vec::new();
    world
        .backend
        .export(&world.stack, ExportedSecrets::Shown, &mut out)
        .unwrap();
    assert!(
        String::from_utf8(out)
            .unwrap()
            .contains(r#""plaintext":"\"canary\"""#)
    );
}

#[test]
fn a_stack_with_a_passphrase_needs_it_only_for_secrets_and_names_a_wrong_one() {
    let world = World::new();
    let open = |passphrase: Option<&str>| {
        let passphrase = passphrase.map(|text| Secret::new(text.to_owned()));
        let keyring = Keyring::new(world.folder.path(), passphrase, TestRng::new());
        let clock = std::sync::Arc::clone(&world.clock);
        Backend::open(world.folder.path(), std::sync::Arc::new(keyring), clock).unwrap()
    };
    let name = StackName::new("shop", "passphrase").unwrap();
    let right = open(Some("right"));
    let secrets = right.keyring().create_passphrase().unwrap();
    right.create_stack(&name, &secrets).unwrap();
    assert!(open(None).load(&name).is_ok(), "it holds no secret yet");

    let lease = right.acquire(&name, "up").unwrap();
    let (_, journal) = right.start_run(&lease).unwrap();
    let entries = vec![added(0, thing("a", "canary"))];
    block_on(journal.append(entries, Durability::Durable)).unwrap();
    block_on(journal.commit()).unwrap();
    assert!(matches!(
        open(None).load(&name),
        Err(StateError::Deployment(DeploymentError::Secrets(
            SecretsError::NoPassphrase
        )))
    ));
    let error = open(Some("wrong")).load(&name).unwrap_err();
    let diagnostic = error.to_diagnostic();
    assert!(diagnostic.message.contains("the passphrase is wrong"));
    assert!(diagnostic.hints[0].contains("PASSPHRASE"));
    assert!(open(Some("right")).load(&name).is_ok());

    let (snapshot, locked) = open(Some("wrong")).load_referenced(&name).unwrap();
    assert!(matches!(locked, Some(SecretsError::WrongPassphrase)));
    let outputs = &snapshot.resources[0].outputs;
    assert_eq!(outputs["secret"], Value::Unknown.into_secret());
    assert_eq!(outputs["plain"], Value::from("a"));
    let (snapshot, locked) = open(Some("right")).load_referenced(&name).unwrap();
    assert!(locked.is_none());
    assert_eq!(
        snapshot.resources[0].outputs["secret"].as_str(),
        Some("canary")
    );
}

#[test]
fn an_import_that_contradicts_itself_changes_nothing() {
    let world = World::new();
    run_with(&world, &["a"]);
    let before = fs_err::read(world.path("snapshot.json")).unwrap();
    let mut out = Vec::new();
    let shown = ExportedSecrets::Shown;
    world.backend.export(&world.stack, shown, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let twice = text.replace("\"resources\":[", "\"resources\":[{\"urn\":\"urn:pulumi:dev::shop::test:index:Thing::a\",\"custom\":true,\"type\":\"test:index:Thing\"},");
    assert_ne!(twice, text);
    let lease = world.backend.acquire(&world.stack, "import").unwrap();
    let error = world.backend.import(&lease, &twice, ForeignUrns::Refuse);
    assert!(error.unwrap_err().to_string().contains("two entries"));
    assert_eq!(fs_err::read(world.path("snapshot.json")).unwrap(), before);
}
