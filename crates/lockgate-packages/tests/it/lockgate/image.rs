//! `lockgate:image:*`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lockgate_engine::provider::{DiffChanges, ProviderError};
use lockgate_image::gate::Finding;
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use lockgate_model::{Clock as _, Digest, PropertyMap, Timestamp, Value};
use lockgate_packages::pins::Locked;

use crate::support::{TestClock, World, bag, message};

const BUILD: &str = "lockgate:image:Build";
const GATE: &str = "lockgate:image:Gate";
const PIN: &str = "lockgate:image:Pin";
const PUSH: &str = "lockgate:image:Push";

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
    assert_eq!(failed, "`docker.io/acme/web:latest` cannot be resolved");
}

/// A registry with these tags of `docker.io/acme/web`, each with a digest of its own.
fn offer(world: &World, tags: &[&str]) {
    let mut registry = world.images.registry.lock();
    registry.clear();
    for tag in tags {
        let name = format!("docker.io/acme/web:{tag}");
        registry.insert(name, Digest::of(tag.as_bytes()));
    }
}

fn digest_of(tag: &str) -> Value {
    Value::from(Digest::of(tag.as_bytes()).to_string())
}

#[tokio::test]
async fn a_pin_is_recorded_when_it_is_created_and_then_stays() {
    let world = World::new("lockgate").await;
    offer(&world, &["1.0.0", "1.2.0", "2.0.0"]);
    let inputs = bag(r#"{"image": "acme/web", "rule": "semver", "range": "^1"}"#);
    let preview = world.create(PIN, inputs.clone(), true).await.unwrap();
    assert_eq!(preview.outputs["tag"], Value::from("1.2.0"));
    assert_eq!(preview.outputs["digest"], digest_of("1.2.0"));
    assert!(world.lock.0.lock().is_empty(), "a preview wrote the lock");
    // A newer version appears between preview and create.
    offer(&world, &["1.2.0", "1.3.0"]);
    let created = world.create(PIN, inputs.clone(), false).await.unwrap();
    assert_eq!(created.outputs, preview.outputs);
    let asked = world.images.asked.lock().clone();
    let listed = asked.iter().filter(|call| call.starts_with("tags")).count();
    assert_eq!(listed, 1, "{asked:?}");
    assert!(
        asked
            .last()
            .unwrap()
            .starts_with("fetch docker.io/acme/web@")
    );
    let keys: Vec<String> = world.lock.0.lock().keys().cloned().collect();
    assert_eq!(keys, ["docker.io/acme/web semver ^1"]);

    // The next run asks nobody.
    let next = World::new("lockgate").await;
    *next.lock.0.lock() = world.lock.0.lock().clone();
    let same = next.diff_with(PIN, inputs.clone(), created.outputs.clone(), inputs.clone());
    assert_eq!(same.await.changes, DiffChanges::None);
    let again = next.create(PIN, inputs.clone(), true).await.unwrap();
    assert_eq!(again.outputs, created.outputs);
    assert!(next.images.asked.lock().is_empty());

    // What `lockgate pin --update` wrote is a change.
    let platforms = |tag: &str| [("linux/amd64".to_owned(), Digest::of(tag.as_bytes()))].into();
    for pin in next.lock.0.lock().values_mut() {
        pin.platforms = platforms("1.3.0");
    }
    let updated = next.diff_with(PIN, inputs.clone(), created.outputs.clone(), inputs.clone());
    let updated = updated.await;
    assert_eq!(updated.changes, DiffChanges::Some);
    assert!(updated.detailed.unwrap().contains_key("image"));
}

#[tokio::test]
async fn a_pin_with_an_age_passes_over_what_is_too_young() {
    let world = World::new("lockgate").await;
    offer(&world, &["1.0.0", "1.1.0", "1.2.0", "1.3.0"]);
    let days = |n: i64| Timestamp::from_secs(TestClock.now().as_secs() - n * 86_400);
    let dated = |tag: &str, created: Timestamp| {
        let digest = Digest::of(tag.as_bytes());
        world.images.created.lock().insert(digest, created);
    };
    dated("1.0.0", days(30));
    dated("1.1.0", days(8));
    // The constant date of a reproducible build tells no age; 1.3.0 is of yesterday.
    dated("1.2.0", Timestamp::from_secs(315_532_800));
    dated("1.3.0", days(1));
    let inputs = bag(r#"{"image": "acme/web", "rule": "semver", "range": "^1", "minAge": "7d"}"#);
    let preview = world.create(PIN, inputs.clone(), true).await.unwrap();
    assert_eq!(preview.outputs["tag"], Value::from("1.1.0"));
    let said = world.events.texts();
    let expected = [
        format!("`1.3.0` is too young until {}: `1.1.0` is taken", days(-6)),
        "`1.2.0` has no date that tells its age: `1.1.0` is taken".to_owned(),
    ];
    assert_eq!(said, expected);
    assert!(world.lock.0.lock().is_empty(), "a preview wrote the lock");
    world.create(PIN, inputs.clone(), false).await.unwrap();
    let locked = world.lock.0.lock().values().next().cloned().unwrap();
    assert_eq!(locked.created, Some(days(8)));

    // Nothing is old enough: nothing is taken.
    let world = World::new("lockgate").await;
    offer(&world, &["latest"]);
    let created = days(1);
    world
        .images
        .created
        .lock()
        .insert(Digest::of(b"latest"), created);
    let inputs = bag(r#"{"image": "acme/web", "minAge": "48h"}"#);
    let failed = message(world.create(PIN, inputs.clone(), true).await);
    let until = days(-1);
    assert_eq!(
        failed,
        format!("no tag of `docker.io/acme/web` is `48h` old: `latest` is too young until {until}")
    );
    // What is locked stays.
    let key = "docker.io/acme/web".to_owned();
    let locked = Locked {
        tag: Some("latest".into()),
        digest: Digest::of(b"old"),
        platforms: [("linux/amd64".to_owned(), Digest::of(b"old"))].into(),
        created: None,
    };
    world.lock.0.lock().insert(key, locked);
    let kept = world.create(PIN, inputs, false).await.unwrap();
    assert_eq!(kept.outputs["digest"], digest_of("old"));
}

#[tokio::test]
async fn wrong_pins_name_the_property_and_no_fitting_tag_is_told() {
    let world = World::new("lockgate").await;
    for (rest, expected) in [
        (
            r#""image": "acme/web:1", "rule": "semver""#,
            "image: names a tag or a digest, but the rule chooses the tag",
        ),
        (
            r#""image": "acme/web", "range": "^1""#,
            "range: has no meaning for rule `digest`",
        ),
        (
            r#""image": "acme/web", "rule": "numeric", "extract": "$1""#,
            "extract: needs a `filter` with groups",
        ),
        (
            r#""image": "acme/web", "minAge": "3""#,
            "minAge: `3` is no age, expected for example `72h`, `7d` or `2w`, at most a year",
        ),
        (
            r#""image": "lockgate.local/web:1", "minAge": "3d""#,
            "minAge: has no meaning for a digest or an image of the local store",
        ),
    ] {
        let inputs = bag(&format!("{{{rest}}}"));
        assert_eq!(world.refused(PIN, inputs).await, [expected], "{rest}");
    }
    offer(&world, &["1.0.0"]);
    let inputs = bag(r#"{"image": "acme/web", "rule": "semver", "range": "^3"}"#);
    let failed = message(world.create(PIN, inputs, true).await);
    let expected = "no tag of `docker.io/acme/web` fits: none of 1 tags is a version in `^3`";
    assert_eq!(failed, expected);
}

#[tokio::test]
async fn an_image_is_pushed_when_it_is_created_and_never_in_a_preview() {
    let world = World::new("lockgate").await;
    let mut inputs = handed_over(&world, "v1", "v1");
    inputs.extend(bag(
        r#"{"push": true, "registry": "localhost:5000/team", "tags": ["1.0", "latest"]}"#,
    ));
    let preview = world.create(BUILD, inputs.clone(), true).await.unwrap();
    let digest = preview.outputs["digest"].as_str().unwrap().to_owned();
    let expected = Value::from(format!("localhost:5000/team/web@{digest}"));
    assert_eq!(preview.outputs["ref"], expected);
    assert!(world.images.asked.lock().is_empty());
    let created = world.create(BUILD, inputs.clone(), false).await.unwrap();
    assert_eq!(created.outputs, preview.outputs);
    let pushed = world.images.asked.lock().clone();
    let wanted = |tag: &str| format!("push {digest} localhost:5000/team/web:{tag}");
    assert_eq!(pushed, [wanted("1.0"), wanted("latest")]);
    // The same image under another tag is a change.
    let mut other = inputs.clone();
    other.extend(bag(r#"{"tags": ["1.1", "latest"]}"#));
    let changed = world.diff_with(BUILD, inputs, created.outputs, other).await;
    assert_eq!(changed.changes, DiffChanges::Some);
}

#[tokio::test]
async fn a_build_is_pushed_only_after_the_checks_that_no_image_should_fail() {
    let world = World::new("lockgate").await;
    let mut inputs = handed_over(&world, "v1", "v1");
    inputs.extend(bag(r#"{"push": true, "registry": "localhost:5000/team"}"#));
    *world.images.findings.lock() = vec![finding()];
    for preview in [true, false] {
        let failed = message(world.create(BUILD, inputs.clone(), preview).await);
        assert!(failed.contains("private-key at /app/key.pem"), "{failed}");
    }
    assert!(world.images.asked.lock().is_empty(), "it was pushed");
    let said = world.events.texts();
    assert!(said[0].contains("lockgate:image:Push"), "{said:?}");
    world.images.findings.lock().clear();
    world.create(BUILD, inputs.clone(), false).await.unwrap();
    assert_eq!(world.images.asked.lock().len(), 1);
    // Without a push, whoever takes the image may look at it.
    *world.images.findings.lock() = vec![finding()];
    inputs.remove("push");
    world.create(BUILD, inputs, false).await.unwrap();
}

#[tokio::test]
async fn a_push_to_nowhere_is_refused() {
    let world = World::new("lockgate").await;
    for (rest, expected) in [
        (r#""push": true"#, "push: needs a `registry` to push to"),
        (
            r#""push": true, "registry": "team""#,
            "registry: `team` does not start with a host, expected for example `registry.example.org/team`",
        ),
        (
            r#""tags": ["a b"]"#,
            "tags[0]: `a b` is no tag, expected for example `1.4.0`",
        ),
    ] {
        let inputs = bag(&format!(r#"{{"context": ".", {rest}}}"#));
        assert_eq!(world.refused(BUILD, inputs).await, [expected], "{rest}");
    }
}

#[tokio::test]
async fn a_push_is_foretold_in_a_preview_and_made_when_it_is_created_or_updated() {
    let world = World::new("lockgate").await;
    let inputs = |content: &[u8], rest: &str| {
        let digest = Digest::of(content);
        bag(&format!(
            r#"{{"image": "lockgate.local/web@{digest}", "to": "localhost:5000/team/app"{rest}}}"#
        ))
    };
    let one = inputs(b"one", "");
    let preview = world.create(PUSH, one.clone(), true).await.unwrap();
    let digest = Digest::of(b"one");
    assert_eq!(preview.outputs["digest"], Value::from(digest.to_string()));
    let expected = format!("localhost:5000/team/app@{digest}");
    assert_eq!(preview.outputs["ref"], Value::from(expected.as_str()));
    assert!(world.images.asked.lock().is_empty(), "a preview pushed");
    let created = world.create(PUSH, one.clone(), false).await.unwrap();
    assert_eq!(created.outputs, preview.outputs);
    assert_eq!(created.id, "localhost:5000/team/app");
    let asked = || std::mem::take(&mut *world.images.asked.lock());
    assert_eq!(asked(), [format!("push {digest} {expected}")]);

    let two = inputs(b"two", r#", "tags": ["1.0", "latest"]"#);
    let foretold = world.update(PUSH, &created, one.clone(), two.clone(), true);
    let foretold = foretold.await.unwrap();
    assert!(asked().is_empty(), "a preview pushed");
    let updated = world.update(PUSH, &created, one, two.clone(), false);
    assert_eq!(updated.await.unwrap(), foretold);
    let digest = Digest::of(b"two");
    let wanted = |tag: &str| format!("push {digest} localhost:5000/team/app:{tag}");
    assert_eq!(asked(), [wanted("1.0"), wanted("latest")]);

    world.delete(PUSH, &created, two).await.unwrap();
    assert!(asked().is_empty(), "a delete asked the registry");
}

#[tokio::test]
async fn an_image_that_is_not_known_is_pushed_nowhere_and_one_from_elsewhere_is_brought_here() {
    let world = World::new("lockgate").await;
    let unknown = bag(r#"{"image": "$unknown", "to": "localhost:5000/team/app"}"#);
    let preview = world.create(PUSH, unknown, true).await.unwrap();
    assert_eq!(preview.outputs["ref"], Value::Unknown);
    assert_eq!(preview.outputs["digest"], Value::Unknown);
    assert!(world.images.asked.lock().is_empty());
    let digest = Digest::of(b"x");
    let inputs = bag(&format!(
        r#"{{"image": "acme/web@{digest}", "to": "localhost:5000/team/app", "tags": ["1"]}}"#
    ));
    world.create(PUSH, inputs, false).await.unwrap();
    let expected = [
        format!("fetch docker.io/acme/web@{digest}"),
        format!("push {digest} localhost:5000/team/app:1"),
    ];
    assert_eq!(*world.images.asked.lock(), expected);
}

#[tokio::test]
async fn another_place_to_push_to_is_a_replacement_and_all_else_an_update() {
    let world = World::new("lockgate").await;
    let digest = Digest::of(b"v1");
    let inputs = |image: &str, to: &str, tag: &str| {
        bag(&format!(
            r#"{{"image": "{image}@{digest}", "to": "{to}", "tags": ["{tag}"]}}"#
        ))
    };
    let old = inputs("lockgate.local/web", "localhost:5000/app", "1");
    for (new, replaces) in [
        (inputs("lockgate.local/b", "localhost:5000/app", "1"), false),
        (
            inputs("lockgate.local/web", "localhost:5000/app", "2"),
            false,
        ),
        (inputs("lockgate.local/web", "localhost:5000/b", "1"), true),
    ] {
        let diff = world.diff(PUSH, old.clone(), new).await;
        assert_eq!(diff.changes, DiffChanges::Some);
        assert_eq!(diff.replaces == ["to"], replaces, "{diff:?}");
        assert!(diff.replaces.is_empty() || replaces, "{diff:?}");
    }
}

#[tokio::test]
async fn wrong_pushes_name_the_property_and_what_was_expected() {
    let world = World::new("lockgate").await;
    let image = format!("lockgate.local/web@{}", Digest::of(b"v1"));
    let digest = Digest::of(b"v2");
    let refusals = [
        (
            "lockgate.local/web:1",
            "localhost:5000/app",
            "1",
            "image: `lockgate.local/web:1` has no digest, expected for example the `ref` of a `lockgate:image:Pin`".to_owned(),
        ),
        (
            &image,
            "team/app",
            "1",
            "to: `team/app` does not start with a host, expected for example `registry.example.org/team`".into(),
        ),
        (
            &image,
            "lockgate.local/app",
            "1",
            "to: `lockgate.local/app` is in the local store, expected a registry".into(),
        ),
        (
            &image,
            &format!("localhost:5000/app@{digest}"),
            "1",
            format!("to: `localhost:5000/app@{digest}` has a digest, but that comes from `image`"),
        ),
        (
            &image,
            "localhost:5000/app:1",
            "1",
            "to: `localhost:5000/app:1` has a tag, which belongs to `tags`".into(),
        ),
        (
            &image,
            "localhost:5000/app",
            &format!("1@{digest}"),
            format!("tags[0]: `1@{digest}` is no tag, expected for example `1.4.0`"),
        ),
    ];
    for (image, to, tag, expected) in refusals {
        let inputs = format!(r#"{{"image": "{image}", "to": "{to}", "tags": ["{tag}"]}}"#);
        assert_eq!(world.refused(PUSH, bag(&inputs)).await, [expected]);
    }
}

#[tokio::test]
async fn a_push_ends_when_it_is_cancelled() {
    let world = World::new("lockgate").await;
    let digest = Digest::of(b"v1");
    let inputs = bag(&format!(
        r#"{{"image": "lockgate.local/web@{digest}", "to": "localhost:5000/app", "tags": ["1"]}}"#
    ));
    world.images.stuck.store(true, Ordering::Relaxed);
    world.cancel.cancel();
    let push = world.create(PUSH, inputs, false);
    let ended = tokio::time::timeout(Duration::from_secs(30), push).await;
    let ended = ended.expect("the push goes on");
    assert!(matches!(ended, Err(ProviderError::Cancelled)));
}
