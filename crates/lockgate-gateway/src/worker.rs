//! A worker: one thread, one runtime, its own listeners; a connection lives and dies here.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::conn::serve;
use crate::core::Core;
use crate::io::Tcp;
use crate::metrics::Counter;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// No new connections; those that are open finish.
    Draining,
    /// Whatever is left is cut.
    Stopping,
}

/// What a worker leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Connections that ended on their own while draining.
    pub(crate) finished: usize,
    /// Connections that were cut.
    pub(crate) cut: usize,
}

/// Between two looks at the pools.
const REAP: Duration = Duration::from_secs(1);
/// Pause after a failed accept: without descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections accepted in one go, so that requests under way get their turn.
const ACCEPT_BATCH: usize = 64;

/// Runs a worker on the current thread until it has stopped.
pub(crate) fn run(
    core: Core,
    listeners: Vec<std::net::TcpListener>,
    phase: watch::Receiver<Phase>,
    done: oneshot::Sender<std::io::Result<Left>>,
) {
    // Without signals and children, which would be looked after at every wait.
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    let result =
        runtime.and_then(|runtime| runtime.block_on(work(Rc::new(core), listeners, phase)));
    // Nobody waits any more when the gateway was dropped without a drain.
    let _ = done.send(result);
}

async fn work(
    core: Rc<Core>,
    listeners: Vec<std::net::TcpListener>,
    mut phase: watch::Receiver<Phase>,
) -> std::io::Result<Left> {
    let listeners = listeners
        .into_iter()
        .map(TcpListener::from_std)
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut worker = Worker {
        core,
        tasks: JoinSet::new(),
    };
    worker.serve(&listeners, &mut phase).await;
    // Whoever connected before now is in the accept queue and must be served.
    while let Some(Ok(accepted)) = poll_fn(|cx| match poll_accept(&listeners, cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
    {
        worker.welcome(accepted);
    }
    drop(listeners);
    Ok(worker.drain(&mut phase).await)
}

struct Worker {
    core: Rc<Core>,
    tasks: JoinSet<()>,
}

impl Worker {
    async fn serve(&mut self, listeners: &[TcpListener], phase: &mut watch::Receiver<Phase>) {
        let mut reap = tokio::time::interval(REAP);
        reap.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let max = self.core.shared.limits.connections_per_worker_max;
        loop {
            let room = self.tasks.len() < max;
            tokio::select! {
                accepted = poll_fn(|cx| poll_accept(listeners, cx)), if room => {
                    match accepted {
                        Ok(accepted) => self.accept(accepted, listeners, max).await,
                        Err(_) => {
                            self.core.metrics.add(Counter::AcceptErrors, 1);
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
                Some(ended) = self.tasks.join_next() => self.farewell(ended),
                _ = reap.tick() => self.reap(),
                changed = phase.changed() => {
                    if changed.is_err() || *phase.borrow() > Phase::Serving {
                        return;
                    }
                }
            }
        }
    }

    /// Takes one connection and those that wait behind it.
    async fn accept(
        &mut self,
        first: (TcpStream, SocketAddr),
        listeners: &[TcpListener],
        max: usize,
    ) {
        self.welcome(first);
        for _ in 1..ACCEPT_BATCH {
            if self.tasks.len() >= max {
                return;
            }
            let next = poll_fn(|cx| match poll_accept(listeners, cx) {
                Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
            });
            let Some(accepted) = next.await else { return };
            self.welcome(accepted);
        }
    }

    fn welcome(&mut self, (stream, peer): (TcpStream, SocketAddr)) {
        let Ok(link) = Tcp::new(stream) else { return };
        self.core.metrics.add(Counter::Connections, 1);
        self.core.metrics.add(Counter::Open, 1);
        let core = Rc::clone(&self.core);
        self.tasks
            .spawn_local(serve(core, link, peer.ip().to_canonical()));
    }

    /// A panic ends one connection; the worker lives.
    fn farewell(&self, ended: Result<(), JoinError>) {
        self.core.metrics.subtract(Counter::Open, 1);
        if ended.is_err_and(|e| e.is_panic()) {
            self.core.metrics.add(Counter::Panics, 1);
            tracing::error!(worker = self.core.number, "a connection ended by a defect");
        }
    }

    fn reap(&self) {
        let table = self.core.table();
        let shared = &self.core.shared;
        self.core.pools.borrow_mut().reap(
            &table,
            shared.clock.monotonic(),
            shared.limits.pool_idle,
        );
    }

    async fn drain(&mut self, phase: &mut watch::Receiver<Phase>) -> Left {
        let mut left = Left::default();
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => match ended {
                    Some(ended) => {
                        left.finished += 1;
                        self.farewell(ended);
                    }
                    None => return left,
                },
                stopping = phase.wait_for(|phase| *phase == Phase::Stopping) => {
                    // An error means that the gateway was dropped: the same.
                    drop(stopping);
                    left.cut = self.tasks.len();
                    self.tasks.shutdown().await;
                    return left;
                }
            }
        }
    }
}

fn poll_accept(
    listeners: &[TcpListener],
    cx: &mut std::task::Context<'_>,
) -> Poll<std::io::Result<(TcpStream, SocketAddr)>> {
    for listener in listeners {
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            return Poll::Ready(accepted);
        }
    }
    Poll::Pending
}
