//! `lockgate:ai:*`.

use std::time::Duration;

use lockgate_model::Value;
use lockgate_model::ai::{AiPolicy, LaneSpec};
use lockgate_model::gateway::{AuthPolicy, PathMatch};

use crate::support::{World, bag};

const VENDOR: &str = "lockgate:ai:Vendor";
const MODEL: &str = "lockgate:ai:Model";
const ROUTE: &str = "lockgate:ai:Route";

#[tokio::test]
async fn a_vendor_reaches_the_node_with_its_key() {
    let world = World::new("lockgate").await;
    let inputs = bag(
        r#"{"baseUrl": "http://127.0.0.1:9/v1/", "key": "vendor-key", "prices": "currency = 'USD'"}"#,
    );
    let created = world.create(VENDOR, inputs, false).await.unwrap();
    assert_eq!(created.id, "shop/dev/web");
    let spec = world.node.vendors.lock()["shop/dev/web"].clone();
    assert_eq!(spec.base_url.to_string(), "http://127.0.0.1:9/v1");
    assert_eq!(
        spec.key.map(|key| key.into_exposed()).as_deref(),
        Some("vendor-key")
    );
    assert_eq!(spec.prices, "currency = 'USD'");
}

#[tokio::test]
async fn mistakes_of_a_vendor_are_found_before_anything_happens() {
    let world = World::new("lockgate").await;
    for (inputs, property) in [
        (r#"{"baseUrl": "ftp://api.example.org/v1"}"#, "baseUrl"),
        (
            r#"{"baseUrl": "https://a.org", "caCertificates": "none"}"#,
            "caCertificates",
        ),
        (
            r#"{"baseUrl": "https://a.org", "serverName": "a b"}"#,
            "serverName",
        ),
        (
            r#"{"baseUrl": "http://a.org", "serverName": "b.org"}"#,
            "serverName",
        ),
        (
            r#"{"baseUrl": "http://127.0.0.1:9", "key": "two words"}"#,
            "key",
        ),
        (r#"{"baseUrl": "http://127.0.0.1:9", "key": ""}"#, "key"),
    ] {
        let failures = world.check(VENDOR, bag(inputs)).await.unwrap_err();
        let found: Vec<&str> = failures.iter().map(|f| f.property.as_str()).collect();
        assert_eq!(found, [property], "{inputs}");
    }
    assert!(world.node.calls.lock().is_empty());
}

#[tokio::test]
async fn a_model_is_named_after_its_resource_unless_told_otherwise() {
    let world = World::new("lockgate").await;
    let inputs = bag(r#"{"lanes": [{"vendor": "openai", "model": "m-1"},
        {"vendor": "other/prod/local", "model": "m-2", "weight": 0}]}"#);
    let created = world.create(MODEL, inputs, false).await.unwrap();
    assert_eq!(created.outputs["alias"], Value::from("web"));
    let spec = world.node.models.lock()["shop/dev/web"].clone();
    let lane = |vendor: &str, model: &str, weight| LaneSpec {
        vendor: vendor.into(),
        vendor_model: model.into(),
        weight,
    };
    assert_eq!(spec.alias, "web");
    assert_eq!(
        spec.lanes,
        [
            lane("shop/dev/openai", "m-1", 1),
            lane("other/prod/local", "m-2", 0)
        ]
    );
}

#[tokio::test]
async fn a_route_answers_the_paths_of_the_openai_api() {
    let world = World::new("lockgate").await;
    let inputs = bag(r#"{"prefix": "/ai/", "models": ["fast"], "consumers": ["alice"]}"#);
    world.create(ROUTE, inputs, false).await.unwrap();
    let spec = world.node.routes.lock()["shop/dev/web"].clone();
    let paths = [
        PathMatch::Exact("/ai/v1/chat/completions".into()),
        PathMatch::Exact("/ai/v1/embeddings".into()),
        PathMatch::Prefix("/ai/v1/models".into()),
    ];
    assert_eq!(spec.matches.paths, paths);
    assert_eq!(spec.strip_prefix.as_deref(), Some("/ai"));
    let auth = AuthPolicy::ApiKey {
        header: "authorization".into(),
        consumers: vec!["shop/dev/alice".into()],
    };
    assert_eq!(spec.auth, auth);
    let models = vec!["shop/dev/fast".into()];
    assert_eq!(spec.ai, Some(AiPolicy { models }));
    assert_eq!(spec.timeouts.head, Duration::from_secs(300));
    assert!(spec.backends.is_empty());
}
