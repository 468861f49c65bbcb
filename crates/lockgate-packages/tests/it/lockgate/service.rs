//! `lockgate:service:Service`.

use std::time::Duration;

use lockgate_engine::provider::{DiffChanges, ProviderError};
use lockgate_model::service::HealthProbe;
use lockgate_model::{Digest, PropertyMap, ServiceId, Value};
use lockgate_packages::NodeError;

use crate::support::{World, bag, message};

const SERVICE: &str = "lockgate:service:Service";

fn image(content: &str) -> String {
    format!("lockgate.local/web@{}", Digest::of(content.as_bytes()))
}

fn inputs(content: &str, rest: &str) -> PropertyMap {
    let mut inputs = bag(rest);
    inputs.insert("image".into(), image(content).into());
    inputs
}

fn id() -> ServiceId {
    ServiceId::parse("shop/dev/web").unwrap()
}

#[tokio::test]
async fn a_service_reaches_the_node_with_every_default() {
    let world = World::new("lockgate").await;
    let created = world
        .create(SERVICE, inputs("v1", "{}"), false)
        .await
        .unwrap();
    assert_eq!(created.id, "shop/dev/web");
    assert_eq!(
        created.outputs["endpoint"],
        Value::from("service://shop/dev/web")
    );
    assert_eq!(
        created.outputs["digest"],
        Value::from(Digest::of(b"v1").to_string())
    );
    assert_eq!(created.outputs["status"], Value::from("healthy"));
    assert_eq!(world.events.texts(), ["1 of 1 healthy"]);
    let spec = world.node.services.lock()[&id()].clone();
    assert_eq!(
        (spec.replicas, spec.fixed_port, spec.read_only_root),
        (1, None, false)
    );
    assert_eq!(spec.health.probe, HealthProbe::Tcp);
    assert_eq!(spec.health.interval, Duration::from_secs(1));
    assert_eq!(spec.health.timeout, Duration::from_secs(2));
    assert_eq!(spec.health.start_timeout, Duration::from_secs(30));
    assert_eq!(spec.rollout.drain, Duration::from_secs(10));
}

#[tokio::test]
async fn every_input_reaches_the_node() {
    let world = World::new("lockgate").await;
    let rest = r#"{"replicas": 2, "port": 8080, "readOnlyRoot": true, "command": ["/app", "-v"],
        "env": {"A": "1", "B": {"$secret": "canary"}}, "secretEnv": {"C": "hush"},
        "health": {"http": "/ok", "interval": "500ms", "fall": 5},
        "limits": {"memoryBytes": 67108864}, "rollout": {"drain": "1m"}}"#;
    let created = world
        .create(SERVICE, inputs("v1", rest), false)
        .await
        .unwrap();
    assert!(created.outputs["secretEnv"].contains_secret());
    let spec = world.node.services.lock()[&id()].clone();
    assert_eq!(
        (spec.replicas, spec.fixed_port, spec.read_only_root),
        (2, Some(8080), true)
    );
    assert_eq!(spec.command, Some(vec!["/app".to_owned(), "-v".to_owned()]));
    assert_eq!(spec.env, [("A".to_owned(), "1".to_owned())].into());
    let secrets: Vec<&str> = spec
        .secret_env
        .values()
        .map(|s| s.expose().as_str())
        .collect();
    assert_eq!(secrets, ["canary", "hush"]);
    assert_eq!(spec.health.probe, HealthProbe::Http { path: "/ok".into() });
    assert_eq!(spec.health.interval, Duration::from_millis(500));
    assert_eq!(spec.health.fall, 5);
    assert_eq!(spec.limits.memory_bytes, Some(64 << 20));
    assert_eq!(spec.rollout.drain, Duration::from_secs(60));
}

#[tokio::test]
async fn wrong_inputs_name_the_property_and_what_was_expected() {
    let world = World::new("lockgate").await;
    for (rest, expected) in [
        (r#"{"replicas": 0}"#, "replicas: expected 1 to 100, found 0"),
        (
            r#"{"port": 70000}"#,
            "port: expected 1 to 65535, found 70000",
        ),
        (
            r#"{"health": {"interval": "2 s"}}"#,
            "health.interval: `2 s` is no duration, expected for example `500ms` or `2s`",
        ),
        (
            r#"{"health": {"http": "/a", "tcp": true}}"#,
            "health: expected exactly one of `http`, `tcp`, `command`, found `http`, `tcp`",
        ),
        (
            r#"{"healt": {}}"#,
            "healt: `healt` is not a known property, did you mean `health`?",
        ),
        (
            r#"{"platform": "docker"}"#,
            "platform: expected `local`, found a string",
        ),
        (
            r#"{"env": {"A=": "1"}}"#,
            "env[\"A=\"]: `A=` cannot name a variable",
        ),
        (
            r#"{"env": {"PORT": 1}}"#,
            "env.PORT: `PORT` is set by the node, use `port` for a fixed one",
        ),
        (
            r#"{"command": []}"#,
            "command: must name a program, found an empty list",
        ),
    ] {
        assert_eq!(
            world.refused(SERVICE, inputs("v1", rest)).await,
            [expected],
            "{rest}"
        );
    }
    let refused = world.refused(SERVICE, bag(r#"{"image": "nginx:1"}"#)).await;
    let expected = "image: `docker.io/library/nginx:1` has no digest, expected for example the \
                    `ref` of a `lockgate:image:Gate`";
    assert_eq!(refused, [expected]);
}

#[tokio::test]
async fn a_preview_knows_endpoint_and_digest_and_asks_nobody() {
    let world = World::new("lockgate").await;
    let first = world
        .create(SERVICE, inputs("v1", "{}"), true)
        .await
        .unwrap();
    assert_eq!(
        first.outputs["endpoint"],
        Value::from("service://shop/dev/web")
    );
    assert_eq!(
        first.outputs["digest"],
        Value::from(Digest::of(b"v1").to_string())
    );
    assert_eq!(first.outputs["status"], Value::Unknown);
    let unknown = bag(r#"{"image": "$unknown", "secretEnv": "$unknown"}"#);
    let second = world
        .update(SERVICE, &first, inputs("v1", "{}"), unknown, true)
        .await
        .unwrap();
    assert_eq!(second["endpoint"], Value::from("service://shop/dev/web"));
    assert_eq!(second["digest"], Value::Unknown);
    assert!(world.node.calls.lock().is_empty());
}

#[tokio::test]
async fn the_same_digest_under_another_name_is_no_change() {
    let world = World::new("lockgate").await;
    let digest = Digest::of(b"v1");
    let old = bag(&format!(r#"{{"image": "a.example/web@{digest}"}}"#));
    let new = bag(&format!(r#"{{"image": "b.example/shop:2@{digest}"}}"#));
    let diff = world.diff(SERVICE, old.clone(), new).await;
    assert_eq!(diff.changes, DiffChanges::None);
    let diff = world.diff(SERVICE, old, inputs("v2", "{}")).await;
    assert_eq!(diff.changes, DiffChanges::Some);
    assert!(diff.replaces.is_empty());
    assert_eq!(diff.stables, ["endpoint", "endpoints"]);
}

#[tokio::test]
async fn a_refused_rollout_tells_why() {
    let world = World::new("lockgate").await;
    *world.node.failure.lock() = Some(NodeError::Refused {
        message: "service `shop/dev/web` did not become healthy within 30s".into(),
        hints: vec!["run `lockgate logs web`".into()],
        causes: vec!["panicked at main.rs".into()],
    });
    let failed = world.create(SERVICE, inputs("v1", "{}"), false).await;
    let expected = "service `shop/dev/web` did not become healthy within 30s\npanicked at main.rs";
    assert_eq!(message(failed), expected);
    *world.node.failure.lock() = Some(NodeError::Lost("reset".into()));
    let lost = world.create(SERVICE, inputs("v1", "{}"), false).await;
    assert!(
        matches!(lost, Err(ProviderError::Unknown { .. })),
        "{lost:?}"
    );
}

#[tokio::test]
async fn refresh_finds_a_lost_service_and_another_version() {
    let world = World::new("lockgate").await;
    let wanted = inputs("v1", "{}");
    let created = world.create(SERVICE, wanted.clone(), false).await.unwrap();
    let read = world
        .read(
            SERVICE,
            &created.id,
            wanted.clone(),
            created.outputs.clone(),
        )
        .await;
    assert_eq!(
        read.unwrap().unwrap().inputs.unwrap()["image"],
        Value::from(image("v1"))
    );
    let mut spec = world.node.services.lock()[&id()].clone();
    spec.image = spec.image.with_digest(Digest::of(b"v0"));
    world.node.services.lock().insert(id(), spec);
    let read = world
        .read(
            SERVICE,
            &created.id,
            wanted.clone(),
            created.outputs.clone(),
        )
        .await;
    let read = read.unwrap().unwrap();
    assert_eq!(
        read.outputs["digest"],
        Value::from(Digest::of(b"v0").to_string())
    );
    let diff = world
        .diff(SERVICE, read.inputs.unwrap(), wanted.clone())
        .await;
    assert_eq!(diff.changes, DiffChanges::Some);
    world
        .delete(SERVICE, &created, wanted.clone())
        .await
        .unwrap();
    world
        .delete(SERVICE, &created, wanted.clone())
        .await
        .unwrap();
    let read = world
        .read(SERVICE, &created.id, wanted, created.outputs)
        .await
        .unwrap();
    assert!(read.is_none());
}

#[tokio::test]
async fn an_image_of_a_registry_is_brought_here_before_the_node_starts_it() {
    let world = World::new("lockgate").await;
    let image = format!("registry.example.org/web@{}", Digest::of(b"v1"));
    let mut inputs = inputs("v1", "{}");
    inputs.insert("image".into(), image.as_str().into());
    world.create(SERVICE, inputs.clone(), true).await.unwrap();
    assert!(world.images.asked.lock().is_empty(), "a preview fetched");
    world.create(SERVICE, inputs, false).await.unwrap();
    assert_eq!(*world.images.asked.lock(), [format!("fetch {image}")]);
}
