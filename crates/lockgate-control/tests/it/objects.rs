//! Routes, consumers and API keys: what is refused, what is undone, what is kept.

use std::sync::atomic::Ordering;

use lockgate_control::{ApiKeyRequest, ControlError};
use lockgate_diag::{Secret, codes};
use lockgate_model::gateway::{AuthPolicy, ConsumerSpec, EndpointSpec, HostSpec, TlsSpec};
use lockgate_model::tls::ServerIdentity;
use lockgate_store::Store as _;

use crate::world::{Node, World, caller, key, route, service};

const KEY_ID: &str = "0123456789abcdef";
const ME: &str = "shop/dev/me";

fn key_text() -> Secret<String> {
    Secret::new(format!("lgk_{KEY_ID}_{}", "ab".repeat(32)))
}

fn request(consumer: &str, key: Secret<String>) -> ApiKeyRequest {
    ApiKeyRequest {
        consumer: consumer.into(),
        key,
        enabled: true,
    }
}

async fn apply_me(node: &Node) {
    let name = ME.to_owned();
    let consumer = ConsumerSpec { name };
    node.control
        .apply_consumer(caller(), consumer)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_route_to_something_unknown_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&World::new(), folder.path()).await;
    node.apply(service("ok", "a")).await.unwrap();
    let near = node
        .apply_route("shop/dev/r", "service://shop/dev/wep")
        .await;
    let Err(ControlError::NotFound(found)) = near else {
        panic!("{near:?}");
    };
    assert_eq!(found.code, codes::store::UNKNOWN_SERVICE);
    assert_eq!(found.hints, ["did you mean `shop/dev/web`"]);

    let mut with_consumer = route("shop/dev/r", "http://127.0.0.1:9");
    with_consumer.auth = AuthPolicy::ApiKey {
        header: "x-api-key".into(),
        consumers: vec![ME.into()],
    };
    let error = node.control.apply_route(caller(), with_consumer).await;
    let Err(ControlError::NotFound(found)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(found.code, codes::store::UNKNOWN_CONSUMER);
    for (name, upstream, code) in [
        ("shop/r", "http://127.0.0.1:9", codes::store::BAD_OBJECT),
        (
            "shop/dev/r",
            "https://127.0.0.1/x",
            codes::store::BAD_BACKEND,
        ),
    ] {
        let error = node.apply_route(name, upstream).await;
        let Err(ControlError::Invalid(found)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(found.code, code);
    }
    assert_eq!(node.control.gateway_spec().routes, []);
}

#[tokio::test(start_paused = true)]
async fn a_route_to_a_url_is_published_with_its_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    node.apply_route("shop/dev/r", "http://127.0.0.1:9/")
        .await
        .unwrap();
    let check = |node: &Node| {
        let spec = node.control.gateway_spec();
        assert_eq!(spec.upstreams[0].name, "http://127.0.0.1:9");
        let address = "127.0.0.1:9".parse().unwrap();
        assert_eq!(spec.upstreams[0].endpoints, [EndpointSpec::Tcp(address)]);
    };
    check(&node);
    node.die();
    // A restarted node knows the address without being told.
    check(&Node::start(&world, folder.path()).await);
}

#[tokio::test(start_paused = true)]
async fn an_https_url_is_one_verified_host_per_setting() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    node.apply_route("shop/dev/a", "https://127.0.0.1")
        .await
        .unwrap();
    let mut named = route("shop/dev/b", "https://127.0.0.1:443/");
    named.backends[0].tls.server_name = Some(ServerIdentity::parse("shop.test").unwrap());
    node.control.apply_route(caller(), named).await.unwrap();
    let spec = node.control.gateway_spec();
    let host = |name: &str| {
        EndpointSpec::Host(HostSpec {
            authority: "127.0.0.1:443".into(),
            addresses: vec!["127.0.0.1:443".parse().unwrap()],
            tls: Some(TlsSpec {
                server_name: ServerIdentity::parse(name).unwrap(),
                ca_certificates: None,
            }),
        })
    };
    let [plain, named] = spec.upstreams.as_slice() else {
        panic!("{:?}", spec.upstreams);
    };
    assert_eq!(plain.name, "https://127.0.0.1:443");
    assert_eq!(plain.endpoints, [host("127.0.0.1")]);
    assert_eq!(named.name, spec.routes[1].backends[0].upstream_name());
    assert!(named.name.starts_with("https://127.0.0.1:443#"));
    assert_eq!(named.endpoints, [host("shop.test")]);

    let mut wrong = route("shop/dev/c", "http://127.0.0.1");
    wrong.backends[0].tls.server_name = Some(ServerIdentity::parse("shop.test").unwrap());
    let error = node.control.apply_route(caller(), wrong).await;
    let Err(ControlError::Invalid(found)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(found.code, codes::store::BAD_BACKEND);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_one_host_with_all_its_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    node.apply_route("shop/dev/a", "http://localhost:9")
        .await
        .unwrap();
    let spec = node.control.gateway_spec();
    let [EndpointSpec::Host(host)] = spec.upstreams[0].endpoints.as_slice() else {
        panic!("{:?}", spec.upstreams);
    };
    assert_eq!((&*host.authority, &host.tls), ("localhost:9", &None));
    assert!(
        host.addresses
            .iter()
            .all(|address| address.ip().is_loopback())
    );
}

#[tokio::test(start_paused = true)]
async fn a_route_the_gateway_refuses_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    let url = "http://127.0.0.1:9";
    node.apply_route("shop/dev/r", url).await.unwrap();
    let error = node.apply_route("shop/dev/refused", url).await;
    let Err(ControlError::Table(found)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(found.code, codes::store::TABLE_REFUSED);
    assert_eq!(found.causes, ["two routes match the same requests"]);
    // The next change is not held against it, and a restart does not bring it back.
    node.apply_route("shop/dev/s", url).await.unwrap();
    node.die();
    let node = Node::start(&world, folder.path()).await;
    let names: Vec<String> = node
        .control
        .gateway_spec()
        .routes
        .iter()
        .map(|route| route.name.clone())
        .collect();
    assert_eq!(names, ["shop/dev/r", "shop/dev/s"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_saved_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&World::new(), folder.path()).await;
    node.store.fails.store(true, Ordering::SeqCst);
    let error = node.apply_route("shop/dev/r", "http://127.0.0.1:9").await;
    assert!(matches!(error, Err(ControlError::Store(_))), "{error:?}");
    assert_eq!(node.control.gateway_spec().routes, []);
    assert_eq!(node.control.find_route("shop/dev/r"), None);
}

#[tokio::test(start_paused = true)]
async fn a_key_needs_its_consumer_and_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    let error = node
        .control
        .apply_api_key(caller(), request(ME, key_text()))
        .await;
    let Err(ControlError::NotFound(found)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(found.code, codes::store::UNKNOWN_CONSUMER);
    apply_me(&node).await;
    let bad = request(ME, Secret::new("lgk_short".into()));
    let error = node.control.apply_api_key(caller(), bad).await;
    let Err(ControlError::Invalid(found)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(found.code, codes::store::BAD_API_KEY);

    let kept = node
        .control
        .apply_api_key(caller(), request(ME, key_text()))
        .await
        .unwrap();
    assert_eq!((kept.id.as_str(), kept.enabled), (KEY_ID, true));
    assert_eq!(kept.hash, key().hash_api_key(&key_text()));
    let remove = || node.control.remove_consumer(caller(), ME.into());
    let Err(ControlError::Conflict(found)) = remove().await else {
        panic!("a consumer with a key was removed");
    };
    assert_eq!(
        found.message,
        format!("the consumer `{ME}` is still needed by API key `{KEY_ID}`")
    );
    node.control
        .remove_api_key(caller(), KEY_ID.into())
        .await
        .unwrap();
    remove().await.unwrap();
    assert_eq!(node.control.gateway_spec().api_keys, []);
}

#[tokio::test(start_paused = true)]
async fn every_change_leaves_one_audit_row() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&World::new(), folder.path()).await;
    apply_me(&node).await;
    apply_me(&node).await;
    node.control
        .apply_api_key(caller(), request(ME, key_text()))
        .await
        .unwrap();
    node.control
        .remove_api_key(caller(), KEY_ID.into())
        .await
        .unwrap();
    node.control
        .remove_api_key(caller(), KEY_ID.into())
        .await
        .unwrap();
    let rows = node.store.find_audit(None, 10).await.unwrap();
    let seen: Vec<_> = rows
        .iter()
        .rev()
        .map(|r| (r.action.as_str(), r.object.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("put", "consumer shop/dev/me"),
            ("put", "API key 0123456789abcdef"),
            ("remove", "API key 0123456789abcdef"),
        ]
    );
    assert!(
        rows.iter()
            .all(|row| row.act.actor == "uid:1000" && row.act.request == "r1")
    );
    assert_eq!(node.store.verify_audit().await.unwrap(), None);
}
