//! A node with a scripted platform and a gateway that takes every spec, behind a real listener.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_api::{
    Api, Client, Listener, NodeInfo, Shutdown, Target, bind_unix, serve, serve_console,
};
use lockgate_control::{Control, ControlSettings};
use lockgate_diag::Secret;
use lockgate_model::gateway::{
    AuthPolicy, BackendSpec, EndpointSpec, FieldMatch, GatewaySpec, PathMatch, RateLimitPolicy,
    RouteMatch, RouteSpec, TableStatus, TimeoutPolicy,
};
use lockgate_model::service::{
    HealthCheck, HealthProbe, Rollout, ServiceId, ServiceLimits, ServiceSpec,
};
use lockgate_model::{Clock, Digest, ImageReference, Rng, Timestamp};
use lockgate_service::{
    Adopted, ExitCause, ExitReport, Instance, InstanceSpec, LogChunk, LogCursor, LogFrom, LogLine,
    LogStream, Platform, ServiceError,
};
use lockgate_store::{NodeKey, SqliteStore};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(crate) const CANARY: &str = "canary-secret-value";

/// Runs everything at once, but what has `MODE=crash`.
#[derive(Default)]
struct Machine(AtomicU64);

#[async_trait]
impl Platform for Machine {
    async fn start(&self, spec: InstanceSpec) -> Result<Instance, ServiceError> {
        if spec
            .service
            .env
            .get("MODE")
            .is_some_and(|mode| mode == "crash")
        {
            return Err(ServiceError::Spec("no such program".into()));
        }
        let port = 10_000 + self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Instance {
            id: spec.id,
            endpoint: EndpointSpec::Tcp(([127, 0, 0, 1], u16::try_from(port).unwrap()).into()),
            pid: 7,
            notes: Vec::new(),
        })
    }

    async fn adopt(&self) -> Result<Vec<Adopted>, ServiceError> {
        Ok(Vec::new())
    }

    async fn stop(&self, _: &str, _: Duration) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn exit(&self, _: &str) -> ExitReport {
        std::future::pending::<()>().await;
        ExitReport {
            cause: ExitCause::Killed,
            at: None,
            out_of_memory: false,
            port_taken: false,
        }
    }

    async fn probe(&self, _: &str, _: &HealthProbe, _: Duration) -> Result<(), String> {
        Ok(())
    }

    /// Every read finds one line more.
    async fn logs(&self, _: &str, from: LogFrom) -> Result<LogChunk, ServiceError> {
        let offset = match from {
            LogFrom::Last(_) => 1,
            LogFrom::After(cursor) => cursor.offset + 1,
        };
        Ok(LogChunk {
            lines: vec![LogLine {
                at: Timestamp::from_secs(1),
                stream: LogStream::Out,
                text: format!("line {offset}"),
            }],
            next: LogCursor { file: 0, offset },
        })
    }

    async fn dial(&self, _: &str, _: u16) -> std::io::Result<std::net::TcpStream> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

pub(crate) struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Rng for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        let call = self.0.fetch_add(1, Ordering::SeqCst).to_le_bytes();
        for (at, byte) in buffer.iter_mut().enumerate() {
            *byte = call[at % 8];
        }
    }
}

/// A node that serves its API until it is dropped.
pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) socket: PathBuf,
    pub(crate) shutdowns: mpsc::Receiver<Shutdown>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) api: Api,
    pub(crate) stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Node {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = NodeKey::new([1; 32]);
        let rng = Arc::new(Counter::default());
        let path = folder.path().join("node.db");
        let store = SqliteStore::open(&path, &key, rng.clone()).await;
        let store = Arc::new(store.unwrap());
        let (spec, mut specs) = watch::channel(Arc::new(GatewaySpec::default()));
        let (tables, status) = watch::channel(TableStatus::default());
        tokio::spawn(async move {
            while specs.changed().await.is_ok() {
                let version = specs.borrow_and_update().version;
                tables.send_replace(TableStatus {
                    version,
                    rejected: None,
                });
            }
        });
        let (_, records) = mpsc::channel(1);
        let control = Control::start(ControlSettings {
            platform: Arc::new(Machine::default()),
            store: store.clone(),
            spec,
            status,
            records,
            node_key: key,
            clock: Arc::new(Fixed),
            rng: rng.clone(),
            gateway_url: "http://127.0.0.1:8080".into(),
        });
        let (shutdown, shutdowns) = mpsc::channel(1);
        let (console, asked) = mpsc::channel(1);
        let info = NodeInfo {
            version: "0.1.0".into(),
            pid: 42,
            started: Timestamp::from_secs(1_800_000_000),
            addresses: vec!["127.0.0.1:8080".parse().unwrap()],
            metrics: Box::new(|| "lockgate_up 1\n".into()),
            shutdown,
            console,
            clock: Arc::new(Fixed),
        };
        let api = Api::new(Arc::new(control.await.unwrap()), info, rng);
        let socket = folder.path().join("node.sock");
        let listener = Listener::Unix(bind_unix(&socket).await.unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, api.clone(), stop.clone()));
        tokio::spawn(serve_console(asked, api.clone(), stop.clone()));
        let connected = Client::connect(Target::Unix(socket.clone())).await;
        let (client, _) = connected.unwrap();
        Self {
            client,
            socket,
            shutdowns,
            store,
            api,
            stop,
            _folder: folder,
        }
    }

    /// Serves the same API on TCP; returns its address.
    pub(crate) async fn serve_tcp(&self, key: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let key = Secret::new(key.to_owned());
        let listener = Listener::Tcp { listener, key };
        tokio::spawn(serve(listener, self.api.clone(), self.stop.clone()));
        address
    }
}

pub(crate) fn service(name: &str, mode: &str) -> ServiceSpec {
    ServiceSpec {
        id: ServiceId::parse(name).unwrap(),
        image: ImageReference::parse("acme/web")
            .unwrap()
            .with_digest(Digest::of(b"image")),
        replicas: 2,
        fixed_port: None,
        env: BTreeMap::from([("MODE".into(), mode.into())]),
        secret_env: BTreeMap::from([("DB".into(), Secret::new(CANARY.into()))]),
        command: Some(vec!["/web".into()]),
        health: HealthCheck {
            probe: HealthProbe::Http { path: "/".into() },
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            fall: 3,
            start_timeout: Duration::from_secs(10),
        },
        limits: ServiceLimits::default(),
        rollout: Rollout {
            drain: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(1),
        },
        read_only_root: true,
    }
}

pub(crate) fn route(name: &str, upstream: &str) -> RouteSpec {
    RouteSpec {
        name: name.into(),
        matches: RouteMatch {
            hosts: vec!["web.example.org".into()],
            paths: vec![
                PathMatch::Prefix("/a".into()),
                PathMatch::Exact("/b".into()),
                PathMatch::Regex("/c.*".into()),
            ],
            methods: vec!["GET".into()],
            headers: vec![FieldMatch {
                name: "x-a".into(),
                value: Some("1".into()),
            }],
            query: vec![FieldMatch {
                name: "q".into(),
                value: None,
            }],
        },
        backends: vec![BackendSpec {
            upstream: upstream.into(),
            tls: Default::default(),
            weight: 1,
        }],
        strip_prefix: Some("/a".into()),
        auth: AuthPolicy::ApiKey {
            header: "x-api-key".into(),
            consumers: vec!["shop/dev/me".into()],
        },
        rate_limit: Some(RateLimitPolicy {
            requests: 10,
            per: Duration::from_secs(1),
            burst: 5,
        }),
        timeouts: TimeoutPolicy {
            total: Some(Duration::from_secs(90)),
            ..TimeoutPolicy::default()
        },
        body_bytes_max: Some(1024),
        ai: None,
    }
}
