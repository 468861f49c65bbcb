//! `lockgate:image:*`.

use std::sync::atomic::Ordering;

use lockgate_engine::provider::DiffChanges;
use lockgate_image::gate::Finding;
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use lockgate_model::{Digest, PropertyMap, Timestamp, Value};

use crate::support::{World, bag, message};

const BUILD: &str = "lockgate:image:Build";
const GATE: &str = "lockgate:image:Gate";
const PIN: &str = "lockgate:image:Pin";

/// A context of one file asset with the hash of `hashed`.
fn handed_over(world: &World, content: &str, hashed: &str) -> PropertyMap {
    fs_err::write(world.project.path().join("app"), content).unwrap();
    let asset = Asset {
        hash: Some(Digest::of(hashed.as_bytes()).hex()),
        source: AssetSource::Path("app".into()),
    };
    let archive = Archive {
        hash: Some(Digest::of(hashed.as_bytes()).hex()),
        source: ArchiveSource::Assets([("bin/app".to_owned(), Value::Asset(asset))].into()),
    };
    let mut inputs = bag(r#"{"dockerfileInline": "FROM scratch\nCOPY bin/app /app"}"#);
    inputs.insert("context".into(), Value::Archive(archive));
    inputs
}

#[tokio::test]
async fn a_preview_builds_into_the_store_and_knows_the_digest() {
    let world = World::new("lockgate").await;
    let inputs = handed_over(&world, "v1", "v1");
    let preview = world.create(BUILD, inputs.clone(), true).await.unwrap();
    let digest = preview.outputs["digest"].as_str().unwrap().to_owned();
    assert_eq!(
        preview.outputs["ref"],
        Value::from(format!("lockgate.local/web@{digest}"))
    );
    assert_eq!(preview.outputs["sizeBytes"], Value::Number(7.0));
    let created = world.create(BUILD, inputs, false).await.unwrap();
    assert_eq!(created.outputs, preview.outputs);
    assert_eq!(world.images.builds.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_unknown_context_makes_an_unknown_digest() {
    let world = World::new("lockgate").await;
    let preview = world
        .create(BUILD, bag(r#"{"context": "$unknown"}"#), true)
        .await
        .unwrap();
    for name in ["digest", "ref", "buildKey", "sizeBytes"] {
        assert_eq!(preview.outputs[name], Value::Unknown, "{name}");
    }
    assert_eq!(world.images.builds.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_file_that_is_not_what_was_handed_over_is_refused() {
    let world = World::new("lockgate").await;
    let inputs = handed_over(&world, "edited", "v1");
    let failed = message(world.create(BUILD, inputs, false).await);
    let path = world.project.path().join("app");
    let expected = format!(
        "`{}` changed after it was handed over as `bin/app`",
        path.display()
    );
    assert_eq!(failed, expected);
}

#[tokio::test]
async fn a_changed_file_in_a_folder_is_a_difference_and_a_changed_input_of_one_image_is_none() {
    let world = World::new("lockgate").await;
    let folder = world.project.path().join("src");
    fs_err::create_dir(&folder).unwrap();
    fs_err::write(folder.join("a"), "1").unwrap();
    let inputs = bag(r#"{"context": "src"}"#);
    let created = world.create(BUILD, inputs.clone(), false).await.unwrap();
    let outputs = created.outputs;
    let diff = |new| world.diff_with(BUILD, inputs.clone(), outputs.clone(), new);
    assert_eq!(diff(inputs.clone()).await.changes, DiffChanges::None);
    fs_err::write(folder.join("a"), "2").unwrap();
    let changed = diff(inputs.clone()).await;
    assert_eq!(changed.changes, DiffChanges::Some);
    let detailed = changed.detailed.unwrap();
    assert_eq!(detailed.keys().collect::<Vec<_>>(), ["context"]);
    fs_err::write(folder.join("a"), "1").unwrap();
    let explicit = bag(r#"{"context": "src", "platform": "linux/amd64"}"#);
    assert_eq!(diff(explicit).await.changes, DiffChanges::None);
}

#[tokio::test]
async fn stack_config_decides_the_platform() {
    let config = bag(r#"{"platform": "linux/arm64"}"#);
    let world = World::with_config("lockgate", config).await;
    let arm = world
        .create(BUILD, handed_over(&world, "v1", "v1"), false)
        .await
        .unwrap();
    let world = World::new("lockgate").await;
    let amd = world
        .create(BUILD, handed_over(&world, "v1", "v1"), false)
        .await
        .unwrap();
    assert_ne!(arm.outputs["digest"], amd.outputs["digest"]);
}

#[tokio::test]
async fn wrong_builds_name_the_property_and_what_was_expected() {
    let world = World::new("lockgate").await;
    for (rest, expected) in [
        (
            r#""labels": {"a": {"$secret": "canary"}}"#,
            "labels: holds a secret, but labels end up in the image",
        ),
        (
            r#""dockerfile": "D", "dockerfileInline": "FROM scratch""#,
            "dockerfileInline: expected one of `dockerfile` and `dockerfileInline`, found both",
        ),
        (
            r#""platform": "linux""#,
            "platform: `linux` is not `os/arch` or `os/arch/variant`, for example `linux/amd64`",
        ),
        (
            r#""name": "Web:1""#,
            "name: `Web:1` is no repository name, expected for example `shop/web`",
        ),
    ] {
        let inputs = bag(&format!(r#"{{"context": ".", {rest}}}"#));
        assert_eq!(world.refused(BUILD, inputs).await, [expected], "{rest}");
    }
}

#[tokio::test]
async fn an_edited_dockerfile_beside_an_archive_is_a_difference() {
    let world = World::new("lockgate").await;
    let dockerfile = world.project.path().join("Dockerfile");
    fs_err::write(&dockerfile, "FROM scratch").unwrap();
    let mut inputs = handed_over(&world, "v1", "v1");
    inputs.remove("dockerfileInline");
    inputs.extend(bag(r#"{"dockerfile": "Dockerfile", "name": "shop/app"}"#));
    let outputs = world
        .create(BUILD, inputs.clone(), false)
        .await
        .unwrap()
        .outputs;
    let reference = outputs["ref"].as_str().unwrap();
    assert!(
        reference.starts_with("lockgate.local/shop/app@sha256:"),
        "{reference}"
    );
    let diff = || world.diff_with(BUILD, inputs.clone(), outputs.clone(), inputs.clone());
    assert_eq!(diff().await.changes, DiffChanges::None);
    fs_err::write(&dockerfile, "FROM scratch\nUSER 1").unwrap();
    let changed = diff().await;
    assert_eq!(changed.changes, DiffChanges::Some);
    let detailed = changed.detailed.unwrap();
    assert_eq!(detailed.keys().collect::<Vec<_>>(), ["dockerfile"]);
}

#[tokio::test]
async fn refresh_finds_an_image_that_left_the_store() {
    let world = World::new("lockgate").await;
    let inputs = handed_over(&world, "v1", "v1");
    let created = world.create(BUILD, inputs.clone(), false).await.unwrap();
    let read = world
        .read(BUILD, &created.id, inputs.clone(), created.outputs.clone())
        .await;
    assert!(read.unwrap().is_some());
    world.images.known.lock().clear();
    let read = world
        .read(BUILD, &created.id, inputs, created.outputs)
        .await
        .unwrap();
    assert!(read.is_none());
}

fn finding() -> Finding {
    Finding {
        rule: "private-key".into(),
        place: "/app/key.pem".into(),
        detail: "a private key".into(),
        ignored: None,
    }
}

#[tokio::test]
async fn a_gate_hands_the_reference_on_only_when_every_check_passed() {
    let world = World::new("lockgate").await;
    let image = format!("lockgate.local/web@{}", Digest::of(b"v1"));
    let inputs = bag(&format!(
        r#"{{"image": "{image}", "maxSizeBytes": 10, "nonRoot": true, "ignores":
            [{{"rule": "private-key", "place": "/t", "reason": "test", "expires": "1970-01-02"}}]}}"#
    ));
    let created = world.create(GATE, inputs.clone(), true).await.unwrap();
    assert_eq!(created.outputs["ref"], Value::from(image.as_str()));
    let (policy, ignores) = world.images.gates.lock()[0].clone();
    assert!(policy.secrets && policy.non_root && policy.by_digest);
    assert_eq!(policy.max_size_bytes, Some(10));
    assert_eq!(ignores[0].expires, Some(Timestamp::from_secs(86_400)));
    *world.images.findings.lock() = vec![finding()];
    for preview in [true, false] {
        let failed = message(world.create(GATE, inputs.clone(), preview).await);
        let expected = format!(
            "image `{image}` did not pass `secrets`\nprivate-key at /app/key.pem: a private key"
        );
        assert_eq!(failed, expected);
    }
    let unknown = world
        .create(GATE, bag(r#"{"image": "$unknown"}"#), true)
        .await
        .unwrap();
    assert_eq!(unknown.outputs["ref"], Value::Unknown);
}

#[tokio::test]
async fn a_gate_is_checked_anew_only_while_findings_are_accepted() {
    let world = World::new("lockgate").await;
    let digest = Digest::of(b"v1");
    let plain = bag(&format!(r#"{{"image": "lockgate.local/web@{digest}"}}"#));
    assert_eq!(
        world.diff(GATE, plain.clone(), plain.clone()).await.changes,
        DiffChanges::None
    );
    assert!(world.images.gates.lock().is_empty());
    let mut accepting = plain;
    accepting.extend(bag(
        r#"{"ignores": [{"rule": "r", "reason": "test", "expires": "2999-01-01"}]}"#,
    ));
    let diff = world.diff(GATE, accepting.clone(), accepting).await;
    assert_eq!(diff.changes, DiffChanges::None);
    assert_eq!(world.images.gates.lock().len(), 1);
}

#[tokio::test]
async fn wrong_gates_name_the_property_and_what_was_expected() {
    let world = World::new("lockgate").await;
    let digest = Digest::of(b"v1");
    for (rest, expected) in [
        (
            r#""ignores": [{"rule": "r", "reason": "test"}]"#,
            "ignores[0].expires: is required, expected a string",
        ),
        (
            r#""ignores": [{"rule": "r", "reason": " ", "expires": "2999-01-01"}]"#,
            "ignores[0].reason: must not be empty",
        ),
        (
            r#""ignores": [{"rule": "r", "reason": "test", "expires": "soon"}]"#,
            "ignores[0].expires: `soon` is no day, expected for example `2027-01-31`",
        ),
        (
            r#""maxSizeBytes": 0"#,
            "maxSizeBytes: expected at least 1, found 0",
        ),
    ] {
        let inputs = format!(r#"{{"image": "lockgate.local/web@{digest}", {rest}}}"#);
        assert_eq!(
            world.refused(GATE, bag(&inputs)).await,
            [expected],
            "{rest}"
        );
    }
}

#[tokio::test]
async fn a_pin_keeps_a_digest_and_resolves_a_tag() {
    let world = World::new("lockgate").await;
    let digest = Digest::of(b"x");
    let inputs = bag(&format!(r#"{{"image": "acme/web:1@{digest}"}}"#));
    let created = world.create(PIN, inputs, true).await.unwrap();
    assert_eq!(
        created.outputs["ref"],
        Value::from(format!("docker.io/acme/web@{digest}"))
    );
    assert_eq!(created.outputs["tag"], Value::from("1"));
    let local = world
        .create(PIN, bag(r#"{"image": "lockgate.local/web:1"}"#), false)
        .await
        .unwrap();
    assert_eq!(
        local.outputs["digest"],
        Value::from(Digest::of(b"local").to_string())
    );
    let failed = message(
        world
            .create(PIN, bag(r#"{"image": "acme/web"}"#), false)
            .await,
    );
    assert_eq!(failed, "`docker.io/acme/web` cannot be resolved");
}
