//! The world a node's control side lives in, owned by the test.
//!
//! The platform does what a service's `MODE` variable says: `ok` is healthy at once, `slow` after
//! two seconds, `sick` never, `crash` prints a line and exits with 3, `port` loses the race for its
//! port until its third start. Every start, stop and table is one event, with the virtual time it
//! came at.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_control::{Caller, Control, ControlError, ControlSettings};
use lockgate_diag::{Diagnostic, codes};
use lockgate_model::ai::{CallGroup, CallPlace, CallRow, CallTotal, LedgerHealth};
use lockgate_model::gateway::{
    AuthPolicy, BackendSpec, EndpointSpec, GatewaySpec, Rejected, RouteMatch, RouteSpec,
    TableStatus, TimeoutPolicy,
};
use lockgate_model::record::RequestRecord;
use lockgate_model::service::{
    HealthCheck, HealthProbe, Rollout, ServiceId, ServiceLimits, ServiceSpec, ServiceStatus,
};
use lockgate_model::{Clock, Digest, ImageReference, Rng, Timestamp};
use lockgate_service::{
    Adopted, AdoptedState, ExitCause, ExitReport, Instance, InstanceSpec, LogChunk, LogFrom,
    LogLine, LogStream, Platform, ServiceError,
};
use lockgate_store::{
    Act, AuditRow, Change, NodeKey, Objects, Rollup, SqliteStore, Store, StoreError,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Deadline of every wait, in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) const WEB: &str = "shop/dev/web";

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Start {
        id: String,
        generation: u64,
    },
    Stop {
        id: String,
    },
    /// A table that serves, with the endpoints of the web service; `None` without a route to it.
    Table(Option<Vec<EndpointSpec>>),
}

struct Fake {
    spec: InstanceSpec,
    instance: Instance,
    since: Instant,
    exit: watch::Sender<Option<ExitReport>>,
}

/// What survives a node: the machine.
pub(crate) struct World {
    fakes: Mutex<BTreeMap<String, Fake>>,
    events: watch::Sender<Vec<(Duration, Event)>>,
    /// Instances made sick by the test.
    sick: Mutex<BTreeMap<String, bool>>,
    /// Overrides `MODE` of every service.
    pub(crate) mode: Mutex<Option<&'static str>>,
    ports: AtomicU64,
    origin: Instant,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            fakes: Mutex::default(),
            events: watch::Sender::new(Vec::new()),
            sick: Mutex::default(),
            mode: Mutex::default(),
            ports: AtomicU64::new(10_000),
            origin: Instant::now(),
        })
    }

    fn note(&self, event: Event) {
        let at = self.origin.elapsed();
        self.events.send_modify(|events| events.push((at, event)));
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.timed_events()
            .into_iter()
            .map(|(_, event)| event)
            .collect()
    }

    pub(crate) fn timed_events(&self) -> Vec<(Duration, Event)> {
        self.events.borrow().clone()
    }

    /// Waits until the events fulfil a condition.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&[Event]) -> bool) {
        let mut events = self.events.subscribe();
        let settled = events.wait_for(|events| {
            let plain: Vec<Event> = events.iter().map(|(_, event)| event.clone()).collect();
            condition(&plain)
        });
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            panic!("never came: {what}; events: {:#?}", self.timed_events());
        }
    }

    pub(crate) fn running(&self) -> Vec<String> {
        self.fakes.lock().keys().cloned().collect()
    }

    pub(crate) fn endpoint(&self, id: &str) -> EndpointSpec {
        self.fakes.lock()[id].instance.endpoint.clone()
    }

    pub(crate) fn kill(&self, id: &str) {
        self.fakes.lock()[id].exit.send_replace(Some(report(137)));
    }

    pub(crate) fn set_sick(&self, id: &str, sick: bool) {
        self.sick.lock().insert(id.to_owned(), sick);
    }

    fn mode_of(&self, spec: &ServiceSpec) -> String {
        let forced = *self.mode.lock();
        forced.map_or_else(|| spec.env["MODE"].clone(), String::from)
    }
}

fn report(code: i32) -> ExitReport {
    ExitReport {
        cause: ExitCause::Code(code),
        at: None,
        out_of_memory: false,
        port_taken: false,
    }
}

/// A node's hold on the world. Cut, it stands still for ever, as a killed node does.
pub(crate) struct Link {
    world: Arc<World>,
    cut: Arc<AtomicBool>,
}

impl Link {
    async fn alive(&self) {
        if self.cut.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Platform for Link {
    async fn start(&self, spec: InstanceSpec) -> Result<Instance, ServiceError> {
        self.alive().await;
        let port = self.world.ports.fetch_add(1, Ordering::SeqCst);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()));
        let instance = Instance {
            id: spec.id.clone(),
            endpoint: EndpointSpec::Tcp(address),
            pid: u32::try_from(port).unwrap(),
            notes: Vec::new(),
        };
        let exit = match self.world.mode_of(&spec.service).as_str() {
            "crash" => Some(report(3)),
            "port" if port < 10_002 => Some(ExitReport {
                port_taken: true,
                ..report(1)
            }),
            _ => None,
        };
        let fake = Fake {
            instance: instance.clone(),
            since: Instant::now(),
            exit: watch::Sender::new(exit),
            spec,
        };
        let (id, generation) = (instance.id.clone(), fake.spec.generation);
        self.world.fakes.lock().insert(id.clone(), fake);
        self.world.note(Event::Start { id, generation });
        Ok(instance)
    }

    async fn adopt(&self) -> Result<Vec<Adopted>, ServiceError> {
        self.alive().await;
        let fakes = self.world.fakes.lock();
        let adopted = fakes.values().map(|fake| {
            let exit = fake.exit.borrow().clone();
            let mut spec = fake.spec.clone();
            spec.service.secret_env.clear();
            Adopted {
                spec,
                state: match exit {
                    Some(report) => AdoptedState::Exited(report),
                    None => AdoptedState::Running(fake.instance.clone()),
                },
            }
        });
        Ok(adopted.collect())
    }

    async fn stop(&self, instance: &str, _: Duration) -> Result<(), ServiceError> {
        self.alive().await;
        let fake = self.world.fakes.lock().remove(instance);
        if let Some(fake) = fake {
            fake.exit.send_replace(Some(report(0)));
            let id = instance.to_owned();
            self.world.note(Event::Stop { id });
        }
        Ok(())
    }

    async fn exit(&self, instance: &str) -> ExitReport {
        self.alive().await;
        let exit = self
            .world
            .fakes
            .lock()
            .get(instance)
            .map(|fake| fake.exit.subscribe());
        let Some(mut exit) = exit else {
            return report(0);
        };
        let ended = exit.wait_for(Option::is_some).await;
        let ended = ended.map_or(None, |report| report.clone());
        self.alive().await;
        ended.unwrap_or_else(|| report(0))
    }

    async fn probe(&self, id: &str, _: &HealthProbe, _: Duration) -> Result<(), String> {
        self.alive().await;
        let fakes = self.world.fakes.lock();
        let fake = fakes.get(id).ok_or("it is gone")?;
        let slow = fake.since.elapsed() < Duration::from_secs(2);
        let sick = self.world.sick.lock().get(id).copied();
        match self.world.mode_of(&fake.spec.service).as_str() {
            _ if sick == Some(true) => Err("made sick".into()),
            "slow" if slow => Err("not yet".into()),
            "sick" => Err("status 500".into()),
            _ => Ok(()),
        }
    }

    async fn logs(&self, id: &str, _: LogFrom) -> Result<LogChunk, ServiceError> {
        let line = LogLine {
            at: Timestamp::from_secs(1),
            stream: LogStream::Err,
            text: format!("boom of {}", self.world.fakes.lock()[id].spec.service.id),
        };
        Ok(LogChunk {
            lines: vec![line],
            ..LogChunk::default()
        })
    }

    async fn dial(&self, _: &str, _: u16) -> std::io::Result<std::net::TcpStream> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// The real store, made fit for paused time: a call holds a blocking task, and while one runs the
/// clock stands still. It can be cut like the platform, and told to fail.
#[derive(Clone)]
pub(crate) struct Held {
    inner: Arc<SqliteStore>,
    cut: Arc<AtomicBool>,
    pub(crate) fails: Arc<AtomicBool>,
}

async fn hold<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let handle = Handle::current();
    let held = tokio::task::spawn_blocking(move || handle.block_on(work));
    held.await.unwrap()
}

impl Held {
    async fn open(folder: &Path, cut: Arc<AtomicBool>) -> Self {
        let path = folder.join("node.db");
        let opened =
            hold(
                async move { SqliteStore::open(&path, &key(), Arc::new(Counter::default())).await },
            );
        Self {
            inner: Arc::new(opened.await.unwrap()),
            cut,
            fails: Arc::default(),
        }
    }

    async fn run<T, F>(&self, call: impl FnOnce(Arc<SqliteStore>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        if self.cut.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Document {
                kind: "test",
                name: "told to fail".into(),
                source: lockgate_store::DocumentError::Field("none"),
            });
        }
        hold(call(Arc::clone(&self.inner))).await
    }
}

#[async_trait]
impl Store for Held {
    async fn load_objects(&self) -> Result<Objects, StoreError> {
        self.run(|s| async move { s.load_objects().await }).await
    }

    async fn save_change(&self, change: &Change, act: &Act) -> Result<(), StoreError> {
        let (change, act) = (change.clone(), act.clone());
        self.run(|s| async move { s.save_change(&change, &act).await })
            .await
    }

    async fn reserve_spec_versions(&self, count: u32) -> Result<u64, StoreError> {
        self.run(move |s| async move { s.reserve_spec_versions(count).await })
            .await
    }

    async fn find_audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        self.run(move |s| async move { s.find_audit(before, limit).await })
            .await
    }

    async fn verify_audit(&self) -> Result<Option<u64>, StoreError> {
        self.run(|s| async move { s.verify_audit().await }).await
    }

    async fn add_rollups(&self, rollups: &[Rollup]) -> Result<(), StoreError> {
        let rollups = rollups.to_vec();
        self.run(|s| async move { s.add_rollups(&rollups).await })
            .await
    }

    async fn find_rollups(
        &self,
        route: &str,
        from: i64,
        limit: u32,
    ) -> Result<Vec<Rollup>, StoreError> {
        let route = route.to_owned();
        self.run(move |s| async move { s.find_rollups(&route, from, limit).await })
            .await
    }

    async fn sum_rollups_by_minute(&self, from: i64) -> Result<Vec<Rollup>, StoreError> {
        self.run(move |s| async move { s.sum_rollups_by_minute(from).await })
            .await
    }

    async fn sum_rollups_by_route(
        &self,
        routes: &[String],
        from: i64,
    ) -> Result<Vec<Rollup>, StoreError> {
        let routes = routes.to_vec();
        self.run(move |s| async move { s.sum_rollups_by_route(&routes, from).await })
            .await
    }

    async fn find_calls(
        &self,
        from: Timestamp,
        after: Option<&CallPlace>,
        limit: u32,
    ) -> Result<Vec<CallRow>, StoreError> {
        let after = after.cloned();
        self.run(move |s| async move { s.find_calls(from, after.as_ref(), limit).await })
            .await
    }

    fn ledger_health(&self) -> Option<LedgerHealth> {
        None
    }

    async fn sum_calls(
        &self,
        from: Timestamp,
        by: &[CallGroup],
    ) -> Result<Vec<CallTotal>, StoreError> {
        let by = by.to_vec();
        self.run(move |s| async move { s.sum_calls(from, &by).await })
            .await
    }

    async fn drop_rollups(&self, before: i64) -> Result<(), StoreError> {
        self.run(move |s| async move { s.drop_rollups(before).await })
            .await
    }
}

pub(crate) fn key() -> NodeKey {
    NodeKey::new([1; 32])
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

/// Paused time as a clock.
struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// One node over the world.
pub(crate) struct Node {
    pub(crate) control: Arc<Control>,
    pub(crate) store: Held,
    pub(crate) records: mpsc::Sender<RequestRecord>,
    cut: Arc<AtomicBool>,
}

impl Node {
    /// Starts a node whose gateway takes every spec but those with a route that ends in
    /// `/refused`.
    pub(crate) async fn start(world: &Arc<World>, folder: &Path) -> Self {
        let cut = Arc::new(AtomicBool::new(false));
        let store = Held::open(folder, Arc::clone(&cut)).await;
        let (spec, mut specs) = watch::channel(Arc::new(GatewaySpec::default()));
        let (tables, status) = watch::channel(TableStatus::default());
        let (records, queue) = mpsc::channel(16);
        let (watched, gone) = (Arc::clone(world), Arc::clone(&cut));
        tokio::spawn(async move {
            while specs.changed().await.is_ok() && !gone.load(Ordering::SeqCst) {
                let spec = Arc::clone(&specs.borrow_and_update());
                serve_table(&watched, &spec, &tables);
            }
        });
        let settings = ControlSettings {
            platform: Arc::new(Link {
                world: Arc::clone(world),
                cut: Arc::clone(&cut),
            }),
            store: Arc::new(store.clone()),
            spec,
            status,
            records: queue,
            node_key: key(),
            clock: Arc::new(Virtual(Instant::now())),
            rng: Arc::new(Counter(AtomicU64::new(world.ports.load(Ordering::SeqCst)))),
            gateway_url: "http://127.0.0.1:8080".into(),
        };
        Self {
            control: Arc::new(Control::start(settings).await.unwrap()),
            store,
            records,
            cut,
        }
    }

    /// What `kill -9` does: from here on this node has no effect.
    pub(crate) fn die(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(crate) async fn apply(&self, spec: ServiceSpec) -> Result<ServiceStatus, ControlError> {
        let (progress, _lines) = mpsc::channel(1);
        self.control.apply_service(caller(), spec, progress).await
    }

    pub(crate) async fn apply_route(&self, name: &str, upstream: &str) -> Result<(), ControlError> {
        let route = route(name, upstream);
        self.control.apply_route(caller(), route).await.map(|_| ())
    }
}

fn serve_table(world: &World, spec: &GatewaySpec, tables: &watch::Sender<TableStatus>) {
    if spec
        .routes
        .iter()
        .any(|route| route.name.ends_with("/refused"))
    {
        let text = "two routes match the same requests";
        let rejected = Rejected {
            version: spec.version,
            diagnostics: vec![Diagnostic::error(codes::store::BAD_OBJECT, text)],
        };
        tables.send_modify(|status| status.rejected = Some(rejected));
        return;
    }
    let upstream = spec.upstreams.iter().find(|u| u.name.ends_with(WEB));
    world.note(Event::Table(upstream.map(|u| u.endpoints.clone())));
    tables.send_replace(TableStatus {
        version: spec.version,
        rejected: None,
    });
}

pub(crate) fn caller() -> Caller {
    Caller {
        actor: "uid:1000".into(),
        request: "r1".into(),
    }
}

pub(crate) fn service(mode: &str, image: &str) -> ServiceSpec {
    ServiceSpec {
        id: ServiceId::parse(WEB).unwrap(),
        image: ImageReference::parse("acme/web")
            .unwrap()
            .with_digest(Digest::of(image.as_bytes())),
        replicas: 1,
        fixed_port: None,
        env: BTreeMap::from([("MODE".into(), mode.into())]),
        secret_env: BTreeMap::from([("DB".into(), "secret".to_owned().into())]),
        command: None,
        health: HealthCheck {
            probe: HealthProbe::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            fall: 3,
            start_timeout: Duration::from_secs(10),
        },
        limits: ServiceLimits::default(),
        rollout: Rollout {
            drain: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(2),
        },
        read_only_root: false,
    }
}

pub(crate) fn route(name: &str, upstream: &str) -> RouteSpec {
    RouteSpec {
        name: name.into(),
        matches: RouteMatch::default(),
        backends: vec![BackendSpec {
            upstream: upstream.into(),
            tls: Default::default(),
            weight: 1,
        }],
        strip_prefix: None,
        auth: AuthPolicy::Public,
        rate_limit: None,
        timeouts: TimeoutPolicy::default(),
        body_bytes_max: None,
        ai: None,
    }
}
