//! The `command` package, with real scripts.

use std::time::Duration;

use lockgate_engine::provider::{CreateRequest, DiffChanges, ProviderError};
use lockgate_model::Value;
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};

use crate::support::{World, bag, message};

const COMMAND: &str = "command:local:Command";

#[tokio::test]
async fn a_command_lives_through_create_update_and_delete() {
    let world = World::new("command").await;
    let inputs = bag(
        r#"{"create": "echo made $NAME; echo oops >&2", "environment": {"NAME": "it"},
            "update": "echo was $PULUMI_COMMAND_STDOUT", "delete": "echo gone > deleted"}"#,
    );
    let created = world.create(COMMAND, inputs.clone(), false).await.unwrap();
    assert_eq!(created.outputs["stdout"], Value::from("made it"));
    assert_eq!(created.outputs["stderr"], Value::from("oops"));
    let mut lines = world.events.texts();
    lines.sort();
    assert_eq!(lines, ["made it", "oops"]);
    let updated = world
        .update(COMMAND, &created, inputs.clone(), inputs.clone(), false)
        .await;
    assert_eq!(updated.unwrap()["stdout"], Value::from("was made it"));
    assert!(!world.project.path().join("deleted").exists());
    world.delete(COMMAND, &created, inputs).await.unwrap();
    assert!(world.project.path().join("deleted").exists());
}

#[tokio::test]
async fn a_preview_runs_nothing_and_foretells_unknown_outputs() {
    let world = World::new("command").await;
    let inputs = bag(r#"{"create": "touch ran", "archivePaths": ["ran"]}"#);
    let created = world.create(COMMAND, inputs, true).await.unwrap();
    assert_eq!(created.outputs["stdout"], Value::Unknown);
    assert_eq!(created.outputs["archive"], Value::Unknown);
    assert!(!created.outputs.contains_key("assets"));
    assert!(!world.project.path().join("ran").exists());
}

#[tokio::test]
async fn scripts_get_stdin_interpreter_folder_and_only_the_given_environment() {
    let world = World::new("command").await;
    fs_err::create_dir(world.project.path().join("sub")).unwrap();
    let inputs = bag(
        r#"{"create": "cat; pwd; env | grep -c CARGO", "interpreter": ["/bin/sh", "-uc"],
            "stdin": "fed ", "dir": "sub", "delete": "true"}"#,
    );
    // `grep -c` of nothing counts 0 and fails, which the shell reports as its own end.
    let failed = message(world.create(COMMAND, inputs, false).await);
    let path = world.project.path().join("sub");
    let expected = format!(
        "`create` ended with exit status: 1\nfed {}\n0",
        path.display()
    );
    assert_eq!(failed, expected);
}

#[tokio::test]
async fn triggers_replace_and_other_inputs_update() {
    let world = World::new("command").await;
    let old = bag(r#"{"create": "true", "triggers": [1]}"#);
    let diff = world
        .diff(
            COMMAND,
            old.clone(),
            bag(r#"{"create": "true", "triggers": [2]}"#),
        )
        .await;
    assert_eq!(diff.replaces, ["triggers"]);
    let diff = world
        .diff(
            COMMAND,
            old.clone(),
            bag(r#"{"create": "false", "triggers": [1]}"#),
        )
        .await;
    assert_eq!((diff.changes, diff.replaces.len()), (DiffChanges::Some, 0));
    let diff = world.diff(COMMAND, old.clone(), old).await;
    assert_eq!(diff.changes, DiffChanges::None);
}

#[tokio::test]
async fn files_come_back_as_assets_and_archives_with_their_hashes() {
    let world = World::new("command").await;
    let inputs = bag(
        r#"{"create": "mkdir -p out/deep && printf hi > out/a.txt && printf lo > out/deep/b.txt && printf no > out/skip.txt",
            "assetPaths": ["out/a.txt"], "archivePaths": ["out/**/*.txt", "!**/skip.txt"]}"#,
    );
    let created = world.create(COMMAND, inputs, false).await.unwrap();
    let hash = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";
    let asset = Value::Asset(Asset {
        hash: Some(hash.into()),
        source: AssetSource::Path("out/a.txt".into()),
    });
    assert_eq!(
        created.outputs["assets"].as_map().unwrap()["out/a.txt"],
        asset
    );
    let Value::Archive(Archive {
        hash,
        source: ArchiveSource::Assets(entries),
    }) = &created.outputs["archive"]
    else {
        panic!("{:?}", created.outputs["archive"]);
    };
    assert_eq!(hash.as_ref().map(String::len), Some(64));
    assert_eq!(
        entries.keys().collect::<Vec<_>>(),
        ["out/a.txt", "out/deep/b.txt"]
    );
}

#[tokio::test]
async fn patterns_do_not_leave_the_folder() {
    let world = World::new("command").await;
    let inputs = bag(r#"{"create": "true", "assetPaths": ["../*"]}"#);
    let failed = message(world.create(COMMAND, inputs, false).await);
    assert_eq!(
        failed,
        "pattern `../*` must be relative to `dir` and stay inside it"
    );
}

#[tokio::test]
async fn secrets_are_masked_in_output_and_error_and_make_outputs_secret() {
    let world = World::new("command").await;
    let inputs = bag(
        r#"{"create": "echo token $TOKEN; exit 3", "environment": {"TOKEN": {"$secret": "canary-1"}}}"#,
    );
    let failed = message(world.create(COMMAND, inputs, false).await);
    assert_eq!(failed, "`create` ended with exit status: 3\ntoken [secret]");
    assert_eq!(world.events.texts(), ["token [secret]"]);
    let inputs = bag(r#"{"create": {"$secret": "echo canary-2"}, "logging": "none"}"#);
    let created = world.create(COMMAND, inputs, false).await.unwrap();
    assert_eq!(
        created.outputs["stdout"],
        Value::from("canary-2").into_secret()
    );
    assert_eq!(world.events.texts().len(), 1);
}

#[tokio::test]
async fn a_cancel_kills_the_whole_process_group() {
    let world = World::new("command").await;
    // The child outlives the polite signal, and its shell does not.
    let inputs = bag(r#"{"create": "(trap '' TERM; exec sleep 600) & echo $!; wait"}"#);
    let checked = world.check(COMMAND, inputs).await.unwrap();
    let request = CreateRequest {
        inputs: checked,
        timeout: None,
        idempotency_key: "k".into(),
    };
    let run = world.create_with(COMMAND, request);
    tokio::pin!(run);
    let pid = loop {
        tokio::select! {
            biased;
            ended = &mut run => panic!("{ended:?}"),
            () = tokio::task::yield_now() => {}
        }
        if let Some(pid) = world.events.texts().first() {
            break pid.clone();
        }
    };
    world.cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), run)
        .await
        .unwrap();
    assert!(matches!(ended, Err(ProviderError::Cancelled)), "{ended:?}");
    // A zombie waits for init to collect it; it does not run any more.
    let stat = std::path::Path::new("/proc").join(pid).join("stat");
    let stopped = || match fs_err::read_to_string(&stat) {
        Ok(text) => text.contains(") Z "),
        Err(_) => true,
    };
    tokio::time::timeout(Duration::from_secs(20), async {
        while !stopped() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_script_over_its_time_limit_is_stopped() {
    let world = World::new("command").await;
    let inputs = world
        .check(COMMAND, bag(r#"{"create": "sleep 600"}"#))
        .await
        .unwrap();
    let request = CreateRequest {
        inputs,
        timeout: Some(Duration::from_millis(50)),
        idempotency_key: "k".into(),
    };
    let failed = message(world.create_with(COMMAND, request).await);
    assert_eq!(failed, "the script took longer than 50ms");
}

#[tokio::test]
async fn output_beyond_the_cap_is_cut_with_a_warning() {
    let world = World::new("command").await;
    let inputs = bag(r#"{"create": "head -c 3000000 /dev/zero | tr '\\0' x", "logging": "none"}"#);
    let created = world.create(COMMAND, inputs, false).await.unwrap();
    let kept = created.outputs["stdout"].as_str().unwrap().len();
    assert!((900_000..=1 << 20).contains(&kept), "{kept}");
    let expected = "stdout is longer than 1 MiB; the outputs keep its beginning";
    assert_eq!(world.events.texts(), [expected]);
}

#[tokio::test]
async fn the_function_runs_each_time() {
    let world = World::new("command").await;
    let outputs = world
        .invoke("command:local:run", bag(r#"{"command": "echo hi"}"#))
        .await;
    assert_eq!(outputs.unwrap().unwrap()["stdout"], Value::from("hi"));
    let failures = world
        .invoke("command:local:run", bag("{}"))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(failures[0].property, "command");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named() {
    let world = World::new("command").await;
    let inputs = bag(r#"{"create": "x", "interpreter": ["/no/such"]}"#);
    let failed = message(world.create(COMMAND, inputs, false).await);
    let dir = world.project.path().display();
    let expected =
        format!("cannot start `/no/such` in `{dir}`: No such file or directory (os error 2)");
    assert_eq!(failed, expected);
}
