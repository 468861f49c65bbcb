//! Starting, watching and draining a gateway: its threads and their hand-over points.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lockgate_model::gateway::{GatewaySpec, TableStatus};
use lockgate_model::record::RequestRecord;
use tokio::sync::{mpsc, oneshot, watch};

use crate::Dial;
use crate::access_log::Writer;
use crate::compiler::{Compiler, first_table};
use crate::core::{Core, Shared};
use crate::metrics::{self, CoreMetrics, Global};
use crate::policy::auth::KeyHasher;
use crate::settings::GatewaySettings;
use crate::table::state::State;
use crate::trace::TraceQueue;
use crate::upstream::tls::TlsClients;
use crate::worker::{self, Left, Phase};

/// Connections that may wait to be accepted, per worker and address.
const BACKLOG: i32 = 4096;
/// Finished requests that may wait for the writer, per worker: one round at 300,000 a second.
const TRACES_MAX: usize = 16 * 1024;

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No address or no worker in the settings.
    #[error("a gateway needs at least one address and one worker")]
    Nothing,
    /// An address could not be taken.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The access log could not be opened.
    #[error("open access log `{}`", path.display())]
    AccessLog {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("start the {what} thread")]
    Thread {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DrainReport {
    /// Connections that ended on their own.
    pub finished: usize,
    /// Connections that were cut at the deadline.
    pub cut: usize,
}

/// The data plane of a node.
#[derive(Debug)]
pub struct Gateway;

/// A gateway that serves. Dropping it without [`Running::drain`] cuts every connection.
pub struct Running {
    addresses: Vec<SocketAddr>,
    status: watch::Receiver<TableStatus>,
    shared: Arc<Shared>,
    cores: Vec<Arc<CoreMetrics>>,
    global: Arc<Global>,
    phase: watch::Sender<Phase>,
    workers: Vec<(JoinHandle<()>, oneshot::Receiver<std::io::Result<Left>>)>,
    compiler: JoinHandle<()>,
    writer: JoinHandle<()>,
    writer_stop: Arc<AtomicBool>,
}

impl Gateway {
    /// Starts the gateway's own threads and returns once every address is taken and the first
    /// table serves. An invalid spec does not stop the start: it is refused as later ones are.
    ///
    /// Finished requests go to `records`; when it is full they are dropped and counted.
    pub fn start(
        settings: GatewaySettings,
        spec: watch::Receiver<Arc<GatewaySpec>>,
        records: mpsc::Sender<RequestRecord>,
        dial: Arc<dyn Dial>,
    ) -> Result<Running, StartError> {
        if settings.listen.is_empty() || settings.workers == 0 {
            return Err(StartError::Nothing);
        }
        let (addresses, listeners) = listen(&settings.listen, settings.workers)?;
        let file = settings.access_log.as_ref().map(open_log).transpose()?;
        let tls = TlsClients::new(Arc::clone(&settings.clock));
        let mut state = State::new(settings.workers).with_tls(tls);
        let mut spec = spec;
        let current = Arc::clone(&spec.borrow_and_update());
        let (table, status) = first_table(&current, settings.table_file.as_deref(), &mut state);
        let (status_tx, status) = watch::channel(status);
        let (phase, phase_rx) = watch::channel(Phase::Serving);
        let shared = Arc::new(Shared::new(
            settings.limits.clone(),
            Arc::clone(&settings.clock),
            dial,
            KeyHasher::new(settings.key_hash_key.expose()),
            settings.ledger.clone(),
            Arc::new(table),
        ));
        let global = Arc::new(Global::default());
        let mut cores = Vec::new();
        let mut queues = Vec::new();
        let mut workers = Vec::new();
        for (number, listeners) in listeners.into_iter().enumerate() {
            let metrics = Arc::new(CoreMetrics::new());
            let queue = Arc::new(TraceQueue::new(TRACES_MAX));
            cores.push(Arc::clone(&metrics));
            queues.push(Arc::clone(&queue));
            let (shared, rng) = (Arc::clone(&shared), Arc::clone(&settings.rng));
            let (phase, count) = (phase_rx.clone(), settings.workers);
            let (done, left) = oneshot::channel();
            let thread = spawn("gateway worker", move || {
                if count > 1 {
                    pin_to_cpu(number);
                }
                let core = Core::new(number, shared, metrics, queue, &*rng);
                worker::run(core, listeners, phase, done);
            })?;
            workers.push((thread, left));
        }
        let compiler = Compiler {
            spec,
            state,
            shared: Arc::clone(&shared),
            status: status_tx,
            table_file: settings.table_file,
            global: Arc::clone(&global),
            unsaved: (status.borrow().version == current.version).then_some(current),
        };
        let compiler = spawn("gateway compiler", move || compiler.run(phase_rx))?;
        let writer_stop = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            queues,
            file,
            records,
            global: Arc::clone(&global),
            stop: Arc::clone(&writer_stop),
        };
        let writer = spawn("gateway log", move || writer.run())?;
        Ok(Running {
            addresses,
            status,
            shared,
            cores,
            global,
            phase,
            workers,
            compiler,
            writer,
            writer_stop,
        })
    }
}

impl Running {
    /// The addresses that are served, in the order of the settings.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Follows which table serves.
    pub fn status(&self) -> watch::Receiver<TableStatus> {
        self.status.clone()
    }

    /// All metrics as Prometheus text.
    pub fn metrics_text(&self) -> String {
        metrics::render(&self.cores, &self.global, &self.shared.table())
    }

    /// Stops accepting, lets every connection finish its request, and cuts what is left after
    /// `deadline`. Idle keep-alive connections wait for their next request, which is answered
    /// with `connection: close`, so none is cut without notice before the deadline.
    ///
    /// Not cancel-safe: when dropped half-way, connections are cut.
    pub async fn drain(mut self, deadline: Duration) -> DrainReport {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Draining);
        let mut report = DrainReport::default();
        let mut limit = std::pin::pin!(tokio::time::sleep(deadline));
        for (thread, mut left) in std::mem::take(&mut self.workers) {
            let result = tokio::select! {
                result = &mut left => result,
                () = &mut limit, if *self.phase.borrow() < Phase::Stopping => {
                    self.phase.send_replace(Phase::Stopping);
                    left.await
                }
            };
            match result {
                Ok(Ok(left)) => {
                    report.finished += left.finished;
                    report.cut += left.cut;
                }
                Ok(Err(error)) => tracing::error!(%error, "a gateway worker did not run"),
                Err(_) => tracing::error!("a gateway worker ended by a defect"),
            }
            join(thread);
        }
        self.phase.send_replace(Phase::Stopping);
        self.writer_stop.store(true, Ordering::Release);
        self.writer.thread().unpark();
        join(self.writer);
        join(self.compiler);
        report
    }
}

/// Joins a thread that has said, or is about to say, its last word.
fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a gateway thread ended by a defect");
    }
}

fn spawn(
    what: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new()
        .name(what.replace(' ', "-"))
        .spawn(run)
        .map_err(|source| StartError::Thread { what, source })
}

fn open_log(path: &PathBuf) -> Result<fs_err::File, StartError> {
    fs_err::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|source| StartError::AccessLog {
            path: path.clone(),
            source,
        })
}

/// Per worker one listener per address; the kernel spreads connections over them.
fn listen(
    wanted: &[SocketAddr],
    workers: usize,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), StartError> {
    for address in wanted {
        refuse_taken(*address).map_err(|source| StartError::Listen {
            address: *address,
            source,
        })?;
    }
    let mut addresses = wanted.to_vec();
    let mut all = Vec::with_capacity(workers);
    for _ in 0..workers {
        let mut own = Vec::with_capacity(addresses.len());
        for address in &mut addresses {
            let (listener, bound) = bind(*address).map_err(|source| StartError::Listen {
                address: *address,
                source,
            })?;
            // The first worker finds the free port, the others join it.
            *address = bound;
            own.push(listener);
        }
        all.push(own);
    }
    Ok((addresses, all))
}

/// Workers share a port by an option under which another gateway of the same user could join
/// too and take half of the connections; binding once without it finds that out.
fn refuse_taken(address: SocketAddr) -> std::io::Result<()> {
    let domain = socket2::Domain::for_address(address);
    let protocol = Some(socket2::Protocol::TCP);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, protocol)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Keeps a worker on one of the CPUs that this process may use. Without it the gateway still
/// works, so a refusal is not an error.
fn pin_to_cpu(number: usize) {
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else {
        return;
    };
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect();
    let Some(cpu) = cpus.get(number % cpus.len().max(1)) else {
        return;
    };
    let mut own = rustix::thread::CpuSet::new();
    own.set(*cpu);
    let _ = rustix::thread::sched_setaffinity(None, &own);
}
