//! `lockgate serve`: a node in the foreground. Reads its settings, opens what it keeps, starts the
//! gateway with the last good table, adopts services, listens, waits, drains.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockgate_api::{Api, Listener, NodeInfo, Shutdown, bind_unix};
use lockgate_config::NodeSettings;
use lockgate_control::{Control, ControlSettings, Services};
use lockgate_diag::{Diagnostic, Secret, SourceFile, codes};
use lockgate_gateway::{Dial, Gateway, GatewaySettings, Limits, Running};
use lockgate_model::gateway::GatewaySpec;
use lockgate_service::{LocalPlatform, LocalSettings, Platform, RootMode};
use lockgate_store::{Journal, JournalLimits, NodeKey, SqliteStore, Store as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::paths::NodePaths;
use crate::cli::Serve;
use crate::failure::{CommandError, failed};
use crate::workspace::App;

/// Finished requests that wait for the roll-ups; more are dropped and counted by the gateway.
const RECORDS_QUEUE: usize = 4096;
/// How often the ledger is brought to the disk: what the death of the machine may take of it.
const LEDGER_INTERVAL: Duration = Duration::from_millis(200);
/// Threads of the control side; the gateway brings its own.
const CONTROL_THREADS: usize = 2;
/// Worker threads of the gateway at most: one a core, and a cap for large machines.
const WORKERS_MAX: usize = 64;

/// Runs a node until it is told to stop.
pub(crate) fn run(app: &App, args: &Serve) -> Result<(), CommandError> {
    let paths = NodePaths::new(&app.environment.home);
    make_private(&paths.folder())?;
    let settings = load_settings(app, args, &paths)?;
    let _lock = take_lock(app, &paths)?;
    start_log(&settings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(app, &settings, &paths));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// A folder that only its owner may enter.
fn make_private(folder: &Path) -> Result<(), CommandError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        fs_err::create_dir_all(parent)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700);
    Ok(builder.create(folder)?)
}

fn load_settings(app: &App, args: &Serve, paths: &NodePaths) -> Result<NodeSettings, CommandError> {
    let path = args.settings.clone().unwrap_or_else(|| paths.settings());
    let text = match fs_err::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && args.settings.is_none() => {
            String::new()
        }
        Err(error) => return Err(error.into()),
    };
    let file = SourceFile::new(path.display().to_string(), text);
    let (settings, diagnostics) = NodeSettings::parse(&file);
    let mut settings = app.need(settings, diagnostics)?;
    if let Some(listen) = args.listen {
        settings.data_address = listen;
    }
    Ok(settings)
}

/// Makes this process the node of the home folder; the lock is the kernel's and goes with us.
fn take_lock(app: &App, paths: &NodePaths) -> Result<fs_err::File, CommandError> {
    use rustix::fs::{FlockOperation, flock};
    let mut file = fs_err::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(paths.pid())?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(CommandError::Failed(vec![
            Diagnostic::error(
                codes::store::NODE_RUNS,
                format!(
                    "a node of `{}` runs already",
                    app.environment.home.display()
                ),
            )
            .hint("run `lockgate node status`, or `lockgate node stop`"),
        ]));
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

fn start_log(settings: &NodeSettings) {
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::fmt;
    let level: LevelFilter = settings.log_level.parse().unwrap_or(LevelFilter::INFO);
    let builder = fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // A second node in one process exists in no program of ours; a set logger is kept.
    let _ = if settings.log_json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}

fn node_error(what: &str, error: &(dyn std::error::Error + 'static)) -> CommandError {
    failed(codes::store::NODE_START, what, error)
}

async fn serve(app: &App, settings: &NodeSettings, paths: &NodePaths) -> Result<(), CommandError> {
    let key = NodeKey::load_or_create(&paths.key(), app.rng.as_ref())
        .map_err(|e| node_error("the node's key cannot be used", &e))?;
    let images = lockgate_image::Store::open(&paths.images())
        .map_err(|e| node_error("the image store cannot be opened", &e))?;
    let platform = LocalPlatform::open(
        LocalSettings {
            home: paths.services(),
            exe: "/proc/self/exe".into(),
            clock: Arc::clone(&app.clock),
            rng: Arc::clone(&app.rng),
            root: RootMode::Auto,
        },
        images,
    )
    .map_err(|e| node_error("the local platform cannot be opened", &e))?;
    let platform: Arc<dyn Platform> = Arc::new(platform);
    let (store, ledger) = open_store(app, settings, paths, &key).await?;
    let ledger_stop = CancellationToken::new();
    let keeper = tokio::spawn(keep_ledger(Arc::clone(&store), ledger_stop.clone()));
    let (spec_sender, spec) = watch::channel(Arc::new(GatewaySpec::default()));
    let (records_sender, records) = mpsc::channel(RECORDS_QUEUE);
    let ends = GatewayEnds {
        spec,
        records: records_sender,
        ledger,
    };
    let gateway = start_gateway(app, settings, paths, &key, ends, &platform)?;
    let addresses = gateway.addresses();
    let control = Control::start(ControlSettings {
        platform,
        store: Arc::clone(&store) as _,
        spec: spec_sender,
        status: gateway.status(),
        records,
        node_key: key,
        clock: Arc::clone(&app.clock),
        rng: Arc::clone(&app.rng),
        gateway_url: gateway_url(&addresses),
    })
    .await
    .map_err(|e| node_error("the node cannot take up what it has promised", &e))?;
    let node = Node {
        store: Arc::clone(&store),
        control: Arc::new(control),
        gateway: Arc::new(gateway),
    };
    let result = node.listen_and_wait(app, settings, paths, addresses).await;
    ledger_stop.cancel();
    if keeper.await.is_err() {
        tracing::error!("the ledger's keeper ended by a defect");
    }
    store.close().await;
    result
}

/// Opens what the node keeps: its objects, and the ledger of AI calls.
async fn open_store(
    app: &App,
    settings: &NodeSettings,
    paths: &NodePaths,
    key: &NodeKey,
) -> Result<(Arc<SqliteStore>, Arc<Journal>), CommandError> {
    let folder = settings.store_path.clone();
    if let Some(folder) = &folder {
        make_private(folder)?;
    }
    let folder = folder.unwrap_or_else(|| paths.folder());
    let store = SqliteStore::open(&NodePaths::database_in(&folder), key, Arc::clone(&app.rng))
        .await
        .map_err(|e| node_error("the node's database cannot be opened", &e))?;
    let hook = crate::fault::hook(app.environment.fault.as_deref());
    let store = Arc::new(store.with_fault_hook(hook));
    let limits = JournalLimits {
        segment_bytes: settings.ledger_segment_bytes,
        reserve_bytes: settings.ledger_segment_bytes / 8,
        segments_max: usize::try_from(settings.ledger_segments_max).unwrap_or(usize::MAX),
    };
    let ledger = store
        .open_ledger(&NodePaths::ledger_in(&folder), limits, app.clock.now())
        .await
        .map_err(|e| {
            failed(
                codes::ai::LEDGER,
                "the ledger of AI calls cannot be used",
                &e,
            )
        })?;
    Ok((store, ledger))
}

/// The ledger's part of the metrics, in Prometheus' text format.
fn ledger_metrics(store: &SqliteStore) -> String {
    use std::fmt::Write as _;
    let health = store.ledger_health().unwrap_or_default();
    let mut text = String::new();
    for (name, kind, help, value) in [
        (
            "lockgate_ledger_full",
            "gauge",
            "1 while calls are refused because the ledger has no room.",
            u64::from(health.full),
        ),
        (
            "lockgate_ledger_refused_total",
            "counter",
            "Calls refused because the ledger had no room.",
            health.refused,
        ),
        (
            "lockgate_ledger_segments",
            "gauge",
            "Files of the ledger on disk, the one that is written included.",
            health.segments,
        ),
        (
            "lockgate_ledger_damaged_files",
            "gauge",
            "Damaged files of the ledger that are kept aside.",
            health.damaged,
        ),
        (
            "lockgate_ledger_behind",
            "gauge",
            "1 while the database takes no entries of the ledger.",
            u64::from(health.behind),
        ),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        );
    }
    text
}

/// Brings the ledger's entries to the disk and into the database, now and then and at the end.
async fn keep_ledger(store: Arc<SqliteStore>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LEDGER_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            () = stop.cancelled() => true,
        };
        // The store tells the log when this stops working and when it works again.
        let _ = store.apply_ledger().await;
        if last {
            return;
        }
    }
}

/// Where callers on this machine reach the gateway; a wildcard address becomes loopback.
fn gateway_url(addresses: &[SocketAddr]) -> String {
    let Some(mut address) = addresses.first().copied() else {
        return String::new();
    };
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    format!("http://{address}")
}

/// The gateway's ends of what connects it with the rest of the node.
struct GatewayEnds {
    spec: watch::Receiver<Arc<GatewaySpec>>,
    records: mpsc::Sender<lockgate_model::record::RequestRecord>,
    ledger: Arc<Journal>,
}

fn start_gateway(
    app: &App,
    settings: &NodeSettings,
    paths: &NodePaths,
    key: &NodeKey,
    ends: GatewayEnds,
    platform: &Arc<dyn Platform>,
) -> Result<Running, CommandError> {
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(WORKERS_MAX);
    let usize_of = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let limits = Limits {
        head_bytes_max: usize_of(settings.limits.head_bytes_max),
        head_timeout: settings.limits.head_timeout,
        keep_alive_idle: settings.limits.idle_timeout,
        connections_per_worker_max: usize_of(settings.limits.connections_max).div_ceil(workers),
        ..Limits::default()
    };
    let settings = GatewaySettings {
        listen: vec![settings.data_address],
        workers,
        key_hash_key: key.hash_key(),
        table_file: Some(paths.table()),
        access_log: Some(paths.access_log()),
        limits,
        clock: Arc::clone(&app.clock),
        rng: Arc::clone(&app.rng),
        ledger: Some(ends.ledger),
    };
    let dial = Arc::new(PlatformDial(Arc::clone(platform)));
    Gateway::start(settings, ends.spec, ends.records, dial)
        .map_err(|e| node_error("the gateway cannot start", &e))
}

/// Reaches instances in their own name spaces for the gateway.
struct PlatformDial(Arc<dyn Platform>);

#[async_trait::async_trait]
impl Dial for PlatformDial {
    async fn dial(&self, instance: &str, port: u16) -> std::io::Result<std::net::TcpStream> {
        self.0.dial(instance, port).await
    }
}

struct Node {
    store: Arc<SqliteStore>,
    control: Arc<Control>,
    gateway: Arc<Running>,
}

impl Node {
    async fn listen_and_wait(
        self,
        app: &App,
        settings: &NodeSettings,
        paths: &NodePaths,
        addresses: Vec<SocketAddr>,
    ) -> Result<(), CommandError> {
        let stop = CancellationToken::new();
        let (shutdown, mut asked) = mpsc::channel(1);
        let (console, console_asked) = mpsc::channel(1);
        let (metrics, ledger) = (Arc::clone(&self.gateway), Arc::clone(&self.store));
        let info = NodeInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: app.clock.now(),
            addresses: addresses.clone(),
            metrics: Box::new(move || metrics.metrics_text() + &ledger_metrics(&ledger)),
            shutdown,
            console,
            clock: Arc::clone(&app.clock),
        };
        let api = Api::new(Arc::clone(&self.control), info, Arc::clone(&app.rng));
        let socket = settings
            .admin_socket
            .clone()
            .unwrap_or_else(|| paths.socket());
        let mut servers = tokio::task::JoinSet::new();
        let unix = bind_unix(&socket).await?;
        servers.spawn(lockgate_api::serve(
            Listener::Unix(unix),
            api.clone(),
            stop.clone(),
        ));
        if let Some(address) = settings.admin_address {
            let listener = tcp_listener(settings, address).await?;
            servers.spawn(lockgate_api::serve(listener, api.clone(), stop.clone()));
        }
        servers.spawn(lockgate_api::serve_console(
            console_asked,
            api,
            stop.clone(),
        ));
        for address in &addresses {
            tracing::info!(%address, "gateway listens");
        }
        tracing::info!(socket = %socket.display(), "admin API listens");
        let end = wait_for_end(&mut asked, settings.limits.drain).await?;
        let drain = end.drain;
        tracing::info!(
            drain_ms = u64::try_from(drain.as_millis()).unwrap_or(u64::MAX),
            "draining"
        );
        stop.cancel();
        servers.join_all().await;
        // A socket that stays would make the next command wait for nobody.
        let _ = fs_err::remove_file(&socket);
        if let Ok(gateway) = Arc::try_unwrap(self.gateway) {
            let report = gateway.drain(drain).await;
            tracing::info!(
                finished = report.finished,
                cut = report.cut,
                "gateway drained"
            );
        }
        let keep = paths.folder().join("keep-services");
        let services = if keep.is_file() {
            Services::Keep
        } else {
            Services::Stop
        };
        let _ = fs_err::remove_file(&keep);
        self.control.close(services).await;
        Ok(())
    }
}

async fn tcp_listener(
    settings: &NodeSettings,
    address: SocketAddr,
) -> Result<Listener, CommandError> {
    let Some(key_file) = &settings.admin_key_file else {
        return Err(CommandError::Usage(vec![
            Diagnostic::error(codes::settings::USAGE, "the admin API on TCP needs a key")
                .hint("name a file that holds one as `admin.key_file`"),
        ]));
    };
    let key = fs_err::read_to_string(key_file)?.trim().to_owned();
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(Listener::Tcp {
        listener,
        key: Secret::new(key),
    })
}

/// Waits for a signal or a request to shut down.
async fn wait_for_end(
    asked: &mut mpsc::Receiver<Shutdown>,
    drain: Duration,
) -> Result<Shutdown, CommandError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let by_signal = Shutdown {
        drain,
        keep_services: false,
    };
    tokio::select! {
        _ = interrupt.recv() => Ok(by_signal),
        _ = terminate.recv() => Ok(by_signal),
        shutdown = asked.recv() => Ok(shutdown.unwrap_or(by_signal)),
    }
}
