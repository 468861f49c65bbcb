//! `lockgate:image:*` over the real assembler, store and gate.

use std::sync::Arc;
use std::time::Duration;

use lockgate_image::{Builder, Registries, RegistryResolver, RegistrySettings, Store, StoreOnly};
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use lockgate_model::{Clock, Digest, PropertyMap, Timestamp, Value};
use lockgate_packages::images::LocalImages;

use crate::support::{FakeImages, TestRng, World, bag, message};

const BUILD: &str = "lockgate:image:Build";
const GATE: &str = "lockgate:image:Gate";

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_795_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

async fn world(home: &tempfile::TempDir) -> World {
    let store = Store::open(&home.path().join("images")).unwrap();
    let cache = home.path().join("cache");
    let builder = Builder::new(store, cache, Arc::new(StoreOnly), Arc::new(Still));
    let rng = Arc::new(TestRng::default());
    let registries = Registries::new(RegistrySettings::default(), Arc::new(Still), rng);
    let resolver = Arc::new(RegistryResolver::new(registries));
    let images = LocalImages::new(builder, resolver, Arc::new(Still));
    World::with_images(
        "lockgate",
        PropertyMap::new(),
        Arc::new(images),
        Arc::new(FakeImages::default()),
    )
    .await
}

fn build(text: &str, dockerfile: &str) -> PropertyMap {
    let asset = Asset {
        hash: Some(Digest::of(text.as_bytes()).hex()),
        source: AssetSource::Text(text.into()),
    };
    let archive = Archive {
        hash: None,
        source: ArchiveSource::Assets([("app".to_owned(), Value::Asset(asset))].into()),
    };
    [
        ("context".to_owned(), Value::Archive(archive)),
        ("dockerfileInline".to_owned(), dockerfile.into()),
    ]
    .into()
}

#[tokio::test]
async fn an_image_is_built_in_a_preview_gated_and_found_again() {
    let home = tempfile::tempdir().unwrap();
    let world = world(&home).await;
    let inputs = build("hello", "FROM scratch\nCOPY app /app\nUSER 10001\n");
    let preview = world.create(BUILD, inputs.clone(), true).await.unwrap();
    let created = world.create(BUILD, inputs.clone(), false).await.unwrap();
    assert_eq!(preview.outputs["ref"], created.outputs["ref"]);
    let read = world
        .read(BUILD, &created.id, inputs, created.outputs.clone())
        .await;
    assert!(read.unwrap().is_some());
    let mut gate = bag(r#"{"nonRoot": true, "maxSizeBytes": 100000}"#);
    gate.insert("image".into(), created.outputs["ref"].clone());
    let gated = world.create(GATE, gate.clone(), false).await.unwrap();
    assert_eq!(gated.outputs["ref"], created.outputs["ref"]);
    assert!(
        gated.outputs["report"]
            .as_map()
            .unwrap()
            .contains_key("secrets")
    );
    gate.extend(bag(r#"{"maxSizeBytes": 1}"#));
    let failed = message(world.create(GATE, gate, true).await);
    assert!(
        failed.contains("did not pass `size`\nsize-budget at image: "),
        "{failed}"
    );
}

#[tokio::test]
async fn a_gate_over_an_image_that_is_not_there_is_a_failed_gate() {
    let home = tempfile::tempdir().unwrap();
    let world = world(&home).await;
    let digest = Digest::of(b"nowhere");
    let gate = bag(&format!(r#"{{"image": "lockgate.local/web@{digest}"}}"#));
    let failed = message(world.create(GATE, gate, true).await);
    assert!(
        failed.contains("did not pass `digest`, `secrets`"),
        "{failed}"
    );
}

#[tokio::test]
async fn a_mistake_in_a_dockerfile_names_its_line() {
    let home = tempfile::tempdir().unwrap();
    let world = world(&home).await;
    let inputs = build("hello", "FROM scratch\nCOPPY app /app\n");
    let failed = message(world.create(BUILD, inputs, true).await);
    assert!(failed.starts_with("web.dockerfileInline:2:1: "), "{failed}");
}

#[tokio::test]
async fn a_secret_argument_does_not_reach_the_image() {
    let home = tempfile::tempdir().unwrap();
    let world = world(&home).await;
    let mut inputs = build(
        "hello",
        "FROM scratch\nARG TOKEN\nENV T=$TOKEN\nCOPY app /app\n",
    );
    inputs.extend(bag(r#"{"args": {"TOKEN": {"$secret": "canary-3"}}}"#));
    let failed = message(world.create(BUILD, inputs, true).await);
    assert!(!failed.contains("canary-3"), "{failed}");
    assert!(failed.starts_with("web.dockerfileInline:3:"), "{failed}");
}
