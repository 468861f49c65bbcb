//! `lockgate:gateway:*`.

use std::time::Duration;

use lockgate_engine::provider::{CreateRequest, DiffChanges};
use lockgate_model::gateway::{
    ApiKeySpec, AuthPolicy, BackendSpec, FieldMatch, PathMatch, RateLimitPolicy, TimeoutPolicy,
};
use lockgate_model::tls::{ServerIdentity, TlsSettings};
use lockgate_model::{PropertyMap, Value};

use crate::support::{World, bag};

const ROUTE: &str = "lockgate:gateway:Route";
const CONSUMER: &str = "lockgate:gateway:Consumer";
const API_KEY: &str = "lockgate:gateway:ApiKey";

fn route(rest: &str) -> PropertyMap {
    let mut inputs = bag(r#"{"backends": ["service://shop/dev/web"], "auth": {"public": true}}"#);
    inputs.extend(bag(rest));
    inputs
}

#[tokio::test]
async fn every_input_of_a_route_reaches_the_node() {
    let world = World::new("lockgate").await;
    let inputs = route(
        r#"{"hosts": ["API.example.org"], "paths": ["/a", {"exact": "/b"}, {"regex": "/c.*"}],
            "methods": ["get"], "headers": {"X-A": "1", "X-B": "*"}, "query": {"q": "2"},
            "backends": ["service://shop/dev/web", {"url": "http://127.0.0.1:81", "weight": 3},
                {"url": "https://Shop.test", "serverName": "Inner.test"}],
            "auth": {"apiKey": {"consumers": ["alice", "other/prod/bob"]}},
            "rateLimit": {"requests": 5, "per": "1m"}, "timeouts": {"head": "3s", "total": "1m"},
            "stripPrefix": "/a", "bodyBytesMax": 1024}"#,
    );
    let created = world.create(ROUTE, inputs, false).await.unwrap();
    assert_eq!(created.id, "shop/dev/web");
    assert_eq!(
        created.outputs["url"],
        Value::from("http://127.0.0.1:8080/shop/dev/web")
    );
    let spec = world.node.routes.lock()["shop/dev/web"].clone();
    assert_eq!(spec.matches.hosts, ["api.example.org"]);
    let paths = [
        PathMatch::Prefix("/a".into()),
        PathMatch::Exact("/b".into()),
        PathMatch::Regex("/c.*".into()),
    ];
    assert_eq!(spec.matches.paths, paths);
    assert_eq!(spec.matches.methods, ["GET"]);
    let field = |name: &str, value: Option<&str>| FieldMatch {
        name: name.into(),
        value: value.map(str::to_owned),
    };
    assert_eq!(
        spec.matches.headers,
        [field("x-a", Some("1")), field("x-b", None)]
    );
    assert_eq!(spec.matches.query, [field("q", Some("2"))]);
    let backend = |upstream: &str, weight| BackendSpec {
        upstream: upstream.into(),
        tls: Default::default(),
        weight,
    };
    let backends = [
        backend("service://shop/dev/web", 1),
        backend("http://127.0.0.1:81", 3),
        BackendSpec {
            tls: TlsSettings {
                server_name: ServerIdentity::parse("inner.test").ok(),
                ca_certificates: None,
            },
            ..backend("https://shop.test:443", 1)
        },
    ];
    assert_eq!(spec.backends, backends);
    let auth = AuthPolicy::ApiKey {
        header: "x-api-key".into(),
        consumers: vec!["shop/dev/alice".into(), "other/prod/bob".into()],
    };
    assert_eq!(spec.auth, auth);
    let limit = RateLimitPolicy {
        requests: 5,
        per: Duration::from_secs(60),
        burst: 5,
    };
    assert_eq!(spec.rate_limit, Some(limit));
    assert_eq!(spec.timeouts.head, Duration::from_secs(3));
    assert_eq!(spec.timeouts.total, Some(Duration::from_secs(60)));
    assert_eq!(spec.strip_prefix.as_deref(), Some("/a"));
    assert_eq!(spec.body_bytes_max, Some(1024));
}

#[tokio::test]
async fn time_limits_have_the_same_defaults_as_the_model() {
    let world = World::new("lockgate").await;
    world.create(ROUTE, route("{}"), false).await.unwrap();
    let spec = world.node.routes.lock()["shop/dev/web"].clone();
    assert_eq!(spec.timeouts, TimeoutPolicy::default());
    assert_eq!(spec.auth, AuthPolicy::Public);
}

#[tokio::test]
async fn wrong_routes_name_the_property_and_what_was_expected() {
    let world = World::new("lockgate").await;
    let one_auth = "expected exactly one of `public`, `apiKey`";
    for (rest, expected) in [
        (
            r#"{"auth": null}"#,
            "auth: is required, expected a map".to_owned(),
        ),
        (r#"{"auth": {}}"#, format!("auth: {one_auth}, found none")),
        (
            r#"{"auth": {"public": true, "apiKey": {}}}"#,
            format!("auth: {one_auth}, found `public`, `apiKey`"),
        ),
        (
            r#"{"auth": {"public": false}}"#,
            "auth.public: is false, expected `apiKey` instead of it".into(),
        ),
        (
            r#"{"auth": {"apiKey": {"consumers": []}}}"#,
            "auth.apiKey.consumers: is empty, leave it out to let every consumer call".into(),
        ),
        (
            r#"{"backends": []}"#,
            "backends: expected at least one, found none".into(),
        ),
        (
            r#"{"backends": ["web:80"]}"#,
            "backends[0]: `web:80` is no backend, expected `service://project/stack/name`, \
             `https://host` or `http://host:port`"
                .into(),
        ),
        (
            r#"{"backends": [{"url": "https://a.org", "caCertificates": "none"}]}"#,
            "backends[0].caCertificates: holds no certificate in PEM form".into(),
        ),
        (
            r#"{"backends": [{"service": "service://shop/dev/web", "serverName": "a"}]}"#,
            "backends[0].serverName: is for `https://` URLs only".into(),
        ),
        (
            r#"{"paths": ["a"]}"#,
            "paths[0]: `a` is no path, expected a leading `/`".into(),
        ),
        (
            r#"{"paths": [{"exact": "a"}]}"#,
            "paths[0].exact: `a` is no path, expected a leading `/`".into(),
        ),
        (
            r#"{"rateLimit": {}}"#,
            "rateLimit.requests: is required, expected a whole number".into(),
        ),
        (
            r#"{"hosts": ["a b"]}"#,
            "hosts[0]: `a b` is no host, expected `example.org` or `*.example.org`".into(),
        ),
    ] {
        assert_eq!(
            world.refused(ROUTE, route(rest)).await,
            [expected],
            "{rest}"
        );
    }
}

#[tokio::test]
async fn a_route_preview_keeps_the_url_while_hosts_and_paths_stay() {
    let world = World::new("lockgate").await;
    let old = route(r#"{"paths": ["/a"]}"#);
    let preview = world.create(ROUTE, old.clone(), true).await.unwrap();
    assert_eq!(preview.outputs["url"], Value::Unknown);
    let created = world.create(ROUTE, old.clone(), false).await.unwrap();
    let calls = world.node.calls.lock().len();
    let limited = route(r#"{"paths": ["/a"], "rateLimit": {"requests": 1}}"#);
    let updated = world
        .update(ROUTE, &created, old.clone(), limited, true)
        .await
        .unwrap();
    assert_eq!(updated["url"], created.outputs["url"]);
    let moved = route(r#"{"paths": ["/b"]}"#);
    let updated = world
        .update(ROUTE, &created, old.clone(), moved, true)
        .await
        .unwrap();
    assert_eq!(updated["url"], Value::Unknown);
    let diff = world.diff(ROUTE, old.clone(), old.clone()).await;
    assert_eq!(diff.changes, DiffChanges::None);
    assert_eq!(world.node.calls.lock().len(), calls);
    world.delete(ROUTE, &created, old.clone()).await.unwrap();
    let read = world
        .read(ROUTE, &created.id, old, created.outputs)
        .await
        .unwrap();
    assert!(read.is_none());
}

#[tokio::test]
async fn refresh_finds_a_route_that_somebody_changed() {
    let world = World::new("lockgate").await;
    let wanted = world.check(ROUTE, route("{}")).await.unwrap();
    let created = world.create(ROUTE, wanted.clone(), false).await.unwrap();
    let read = || world.read(ROUTE, &created.id, wanted.clone(), created.outputs.clone());
    assert_eq!(read().await.unwrap().unwrap().inputs, Some(wanted.clone()));
    let mut routes = world.node.routes.lock().clone();
    routes.get_mut("shop/dev/web").unwrap().backends[0].weight = 2;
    *world.node.routes.lock() = routes;
    let found = read().await.unwrap().unwrap().inputs.unwrap();
    let diff = world.diff(ROUTE, found, wanted.clone()).await;
    let detailed = diff.detailed.unwrap();
    assert_eq!(detailed.keys().collect::<Vec<_>>(), ["backends"]);
}

#[tokio::test]
async fn an_unknown_auth_never_reads_as_public() {
    let world = World::new("lockgate").await;
    let inputs = route(r#"{"auth": "$unknown"}"#);
    let preview = world.create(ROUTE, inputs, true).await.unwrap();
    assert_eq!(preview.outputs["auth"], Value::Unknown);
}

#[tokio::test]
async fn consumers_come_and_go() {
    let world = World::new("lockgate").await;
    let created = world.create(CONSUMER, bag("{}"), false).await.unwrap();
    assert_eq!(created.id, "shop/dev/web");
    assert_eq!(created.outputs["name"], Value::from("shop/dev/web"));
    let read = world
        .read(CONSUMER, &created.id, bag("{}"), created.outputs.clone())
        .await;
    assert!(read.unwrap().is_some());
    world.delete(CONSUMER, &created, bag("{}")).await.unwrap();
    let read = world
        .read(CONSUMER, &created.id, bag("{}"), created.outputs)
        .await;
    assert!(read.unwrap().is_none());
}

#[tokio::test]
async fn an_api_key_is_secret_stays_through_updates_and_changes_by_rotation() {
    let world = World::new("lockgate").await;
    let inputs = bag(r#"{"consumer": "alice"}"#);
    let created = world.create(API_KEY, inputs.clone(), false).await.unwrap();
    let key = created.outputs["key"].clone();
    assert!(matches!(key, Value::Secret(_)));
    let (id, _) = ApiKeySpec::split(key.as_str().unwrap()).unwrap();
    assert_eq!(id, created.id);
    assert_eq!(
        world.node.keys.lock()[&created.id].consumer,
        "shop/dev/alice"
    );
    let off = bag(r#"{"consumer": "alice", "enabled": false}"#);
    let updated = world
        .update(API_KEY, &created, inputs.clone(), off, false)
        .await
        .unwrap();
    assert_eq!(updated["key"], key);
    assert!(!world.node.keys.lock()[&created.id].enabled);
    let rotated = bag(r#"{"consumer": "alice", "rotate": 1}"#);
    let diff = world.diff(API_KEY, inputs, rotated.clone()).await;
    assert_eq!(diff.replaces, ["rotate"]);
    let second = world.create(API_KEY, rotated, false).await.unwrap();
    assert_ne!(second.id, created.id);
}

#[tokio::test]
async fn a_repeated_create_of_an_api_key_leaves_one_key() {
    let world = World::new("lockgate").await;
    let request = |key: &str| CreateRequest {
        inputs: bag(r#"{"consumer": "alice"}"#),
        timeout: None,
        idempotency_key: key.into(),
    };
    let first = world.create_with(API_KEY, request("one")).await.unwrap();
    let second = world.create_with(API_KEY, request("one")).await.unwrap();
    assert_eq!(first.id, second.id);
    assert_ne!(first.outputs["key"], second.outputs["key"]);
    assert_eq!(world.node.keys.lock().len(), 1);
    let other = world.create_with(API_KEY, request("two")).await.unwrap();
    assert_ne!(other.id, first.id);
}
