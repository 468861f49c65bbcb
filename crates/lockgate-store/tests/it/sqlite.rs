//! The store against a real SQLite file: what is saved is found after a reopen, secrets are not in
//! the file, and a tampered audit chain names its first bad row.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockgate_diag::Secret;
use lockgate_model::ai::{BaseUrl, VendorSpec};
use lockgate_model::gateway::{
    ApiKeySpec, AuthPolicy, BackendSpec, ConsumerSpec, FieldMatch, PathMatch, RateLimitPolicy,
    RouteMatch, RouteSpec, TimeoutPolicy,
};
use lockgate_model::service::{
    HealthCheck, HealthProbe, Rollout, ServiceId, ServiceLimits, ServiceSpec,
};
use lockgate_model::tls::{CaCertificates, ServerIdentity, TlsSettings};
use lockgate_model::{Digest, ImageReference, Rng, Timestamp};
use lockgate_store::{
    Act, Change, DocumentError, LATENCY_BUCKETS, NodeKey, Rollup, SqliteStore, Store, StoreError,
    StoredService,
};

/// Distinct bytes on every call, the same in every run.
#[derive(Default)]
struct Sequence(AtomicU64);

impl Rng for Sequence {
    fn fill(&self, buffer: &mut [u8]) {
        let call = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        for (at, byte) in buffer.iter_mut().enumerate() {
            *byte = call[at % 8];
        }
    }
}

pub(crate) async fn open(folder: &Path, key: u8) -> SqliteStore {
    let rng = Arc::new(Sequence::default());
    SqliteStore::open(&folder.join("node.db"), &NodeKey::new([key; 32]), rng)
        .await
        .unwrap()
}

fn act(second: i64) -> Act {
    Act {
        at: Timestamp::from_secs(second),
        actor: "uid:1000".into(),
        request: "r1".into(),
    }
}

fn service(probe: HealthProbe) -> StoredService {
    let secret = Secret::new("canary-secret-value".to_owned());
    StoredService {
        spec: ServiceSpec {
            id: ServiceId::parse("shop/dev/web").unwrap(),
            image: ImageReference::parse("acme/web")
                .unwrap()
                .with_digest(Digest::of(b"image")),
            replicas: 2,
            fixed_port: Some(8080),
            env: BTreeMap::from([("A".into(), "b".into())]),
            secret_env: BTreeMap::from([("DB".into(), secret)]),
            command: Some(vec!["run".into()]),
            health: HealthCheck {
                probe,
                interval: Duration::from_millis(500),
                timeout: Duration::from_secs(1),
                fall: 3,
                start_timeout: Duration::from_secs(30),
            },
            limits: ServiceLimits {
                memory_bytes: Some(1 << 20),
                processes: None,
                open_files: Some(64),
            },
            rollout: Rollout {
                drain: Duration::from_secs(5),
                stop_timeout: Duration::from_secs(10),
            },
            read_only_root: true,
        },
        generation: 7,
    }
}

fn tls() -> TlsSettings {
    TlsSettings {
        server_name: Some(ServerIdentity::parse("shop.test").unwrap()),
        ca_certificates: Some(CaCertificates::parse(include_str!("root.pem")).unwrap()),
    }
}

fn route() -> RouteSpec {
    RouteSpec {
        name: "shop/dev/web".into(),
        matches: RouteMatch {
            hosts: vec!["*.example.org".into()],
            paths: vec![
                PathMatch::Exact("/a".into()),
                PathMatch::Prefix("/b".into()),
                PathMatch::Regex("/c[0-9]+".into()),
            ],
            methods: vec!["GET".into()],
            headers: vec![FieldMatch {
                name: "x-a".into(),
                value: None,
            }],
            query: vec![FieldMatch {
                name: "q".into(),
                value: Some("1".into()),
            }],
        },
        backends: vec![
            BackendSpec {
                upstream: "service://shop/dev/web".into(),
                tls: Default::default(),
                weight: 3,
            },
            BackendSpec {
                upstream: "https://127.0.0.1:443".into(),
                tls: tls(),
                weight: 1,
            },
        ],
        strip_prefix: Some("/b".into()),
        auth: AuthPolicy::ApiKey {
            header: "x-api-key".into(),
            consumers: vec!["shop/dev/me".into()],
        },
        rate_limit: Some(RateLimitPolicy {
            requests: 5,
            per: Duration::from_secs(1),
            burst: 2,
        }),
        timeouts: TimeoutPolicy {
            total: Some(Duration::from_secs(9)),
            ..TimeoutPolicy::default()
        },
        body_bytes_max: Some(1 << 16),
        ai: None,
    }
}

#[tokio::test]
async fn objects_survive_a_reopen_and_removals_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let http = HealthProbe::Http { path: "/up".into() };
    let key = ApiKeySpec {
        id: "0123456789abcdef".into(),
        consumer: "shop/dev/me".into(),
        hash: [9; 32],
        enabled: true,
    };
    let consumer = |name: &str| ConsumerSpec { name: name.into() };
    for change in [
        Change::PutService(Box::new(service(HealthProbe::Tcp))),
        Change::PutService(Box::new(service(http.clone()))),
        Change::PutRoute(Box::new(route())),
        Change::PutConsumer(consumer("shop/dev/me")),
        Change::PutConsumer(consumer("shop/dev/gone")),
        Change::PutApiKey(key.clone()),
        Change::RemoveConsumer("shop/dev/gone".into()),
    ] {
        store.save_change(&change, &act(1)).await.unwrap();
    }
    store.close().await;
    let objects = open(folder.path(), 1).await.load_objects().await.unwrap();
    assert_eq!(objects.services, vec![service(http)]);
    assert_eq!(objects.routes, vec![route()]);
    assert_eq!(objects.consumers, vec![consumer("shop/dev/me")]);
    assert_eq!(objects.api_keys, vec![key]);
}

#[tokio::test]
async fn a_vendor_keeps_its_tls_settings_and_older_documents_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let vendor = |name: &str, tls| VendorSpec {
        name: name.into(),
        base_url: BaseUrl::parse("https://127.0.0.1/v1").unwrap(),
        tls,
        key: Some(Secret::new("sk".to_owned())),
        prices: String::new(),
    };
    let vendors = [
        vendor("shop/dev/a", tls()),
        vendor("shop/dev/b", TlsSettings::default()),
    ];
    for (second, vendor) in (0..).zip(&vendors) {
        let change = Change::PutVendor(vendor.clone());
        store.save_change(&change, &act(second)).await.unwrap();
    }
    drop(store);
    // What the second version writes for a plain route, and what the first wrote, is the same.
    execute(
        folder.path(),
        "INSERT INTO object (kind, name, changed_at, document) VALUES ('route', 'shop/dev/old', 0, '{\"v\":\"1\",\"hosts\":[],\"paths\":[],\"methods\":[],\"headers\":[],\"query\":[],\"backends\":[[\"http://127.0.0.1:9\",2]],\"strip_prefix\":null,\"auth\":{\"kind\":\"public\"},\"rate_limit\":null,\"connect_ms\":1,\"head_ms\":1,\"idle_ms\":1,\"total_ms\":null,\"body_bytes_max\":null}')",
    )
    .await;
    let objects = open(folder.path(), 1).await.load_objects().await.unwrap();
    assert_eq!(objects.vendors, vendors);
    let old = BackendSpec {
        upstream: "http://127.0.0.1:9".into(),
        tls: TlsSettings::default(),
        weight: 2,
    };
    assert_eq!(objects.routes[0].backends, [old]);
}

#[tokio::test]
async fn secrets_are_sealed_under_the_nodes_key_and_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let mut stored = service(HealthProbe::Tcp);
    let change = Change::PutService(Box::new(stored.clone()));
    store.save_change(&change, &act(1)).await.unwrap();
    stored.spec.id.name = "other".into();
    let change = Change::PutService(Box::new(stored));
    store.save_change(&change, &act(1)).await.unwrap();
    store.close().await;
    for entry in fs_err::read_dir(folder.path()).unwrap() {
        let bytes = fs_err::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"canary"));
    }

    let error = open(folder.path(), 2).await.load_objects().await;
    let StoreError::Document { source, .. } = error.unwrap_err() else {
        panic!("another key read the store");
    };
    assert!(matches!(source, DocumentError::Seal(name) if name == "DB"));

    // The same ciphertext under another service's name must not open either.
    let swap = "UPDATE object SET document = (SELECT document FROM object \
                WHERE name = 'shop/dev/other') WHERE name = 'shop/dev/web'";
    execute(folder.path(), swap).await;
    let error = open(folder.path(), 1).await.load_objects().await;
    assert!(matches!(error, Err(StoreError::Document { .. })));
}

#[tokio::test]
async fn a_changed_missing_or_moved_audit_row_is_named() {
    for (damage, expected) in [
        ("UPDATE audit SET actor = 'uid:0' WHERE seq = 3", Some(3)),
        ("DELETE FROM audit WHERE seq = 2", Some(2)),
        ("UPDATE audit SET seq = 9 WHERE seq = 4", Some(4)),
        (
            "UPDATE audit SET actor = actor || 'p', action = 'ut' WHERE seq = 1",
            Some(1),
        ),
        ("SELECT 1", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), 1).await;
        for second in 0..4 {
            let change = Change::PutRoute(Box::new(route()));
            store.save_change(&change, &act(second)).await.unwrap();
        }
        let rows = store.find_audit(Some(4), 2).await.unwrap();
        assert_eq!(rows.iter().map(|r| r.seq).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(rows[0].object, "route shop/dev/web");
        assert_eq!(
            (rows[0].action.as_str(), rows[0].act.clone()),
            ("put", act(2))
        );
        store.close().await;
        execute(folder.path(), damage).await;
        let store = open(folder.path(), 1).await;
        assert_eq!(store.verify_audit().await.unwrap(), expected, "{damage}");
    }
}

#[tokio::test]
async fn spec_versions_are_never_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    assert_eq!(store.reserve_spec_versions(10).await.unwrap(), 1);
    store.close().await;
    let store = open(folder.path(), 1).await;
    assert_eq!(store.reserve_spec_versions(5).await.unwrap(), 11);
    assert_eq!(store.reserve_spec_versions(5).await.unwrap(), 16);
}

#[tokio::test]
async fn rollups_are_summed_by_minute_and_by_route() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let rollup = |route: &str, minute, requests: u64| Rollup {
        route: route.into(),
        minute,
        requests,
        errors: 1,
        latency: [requests; LATENCY_BUCKETS],
    };
    store
        .add_rollups(&[
            rollup("a", 4, 100),
            rollup("a", 5, 2),
            rollup("b", 5, 3),
            rollup("", 6, 4),
            rollup("b", 6, 5),
        ])
        .await
        .unwrap();
    let of_two = |route: &str, minute, requests| Rollup {
        errors: 2,
        ..rollup(route, minute, requests)
    };
    assert_eq!(
        store.sum_rollups_by_minute(5).await.unwrap(),
        vec![of_two("", 5, 5), of_two("", 6, 9)]
    );
    let routes = ["b".to_owned(), String::new(), "none".to_owned()];
    assert_eq!(
        store.sum_rollups_by_route(&routes, 5).await.unwrap(),
        vec![rollup("", 5, 4), of_two("b", 5, 8)]
    );
}

#[tokio::test]
async fn rollups_add_up_per_minute_and_are_dropped_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let rollup = |minute, requests| Rollup {
        route: "r".into(),
        minute,
        requests,
        errors: 1,
        latency: [requests; LATENCY_BUCKETS],
    };
    store
        .add_rollups(&[rollup(5, 2), rollup(6, 3)])
        .await
        .unwrap();
    store
        .add_rollups(&[rollup(5, 4), rollup(4, 1)])
        .await
        .unwrap();
    let found = store.find_rollups("r", 5, 10).await.unwrap();
    let mut sum = rollup(5, 6);
    sum.errors = 2;
    assert_eq!(found, vec![sum, rollup(6, 3)]);
    store.drop_rollups(6).await.unwrap();
    assert_eq!(
        store.find_rollups("r", 0, 10).await.unwrap(),
        vec![rollup(6, 3)]
    );
}

/// Runs a statement behind the store's back.
async fn execute(folder: &Path, statement: &'static str) {
    use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.join("node.db"))
        .connect()
        .await
        .unwrap();
    connection.execute(statement).await.unwrap();
    connection.close().await.unwrap();
}
