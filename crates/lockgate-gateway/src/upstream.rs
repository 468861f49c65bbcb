//! Connections to upstreams: one pool per core, keyed by endpoint.

mod connect;
pub(crate) mod pool;
pub(crate) mod tls;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lockgate_model::gateway::EndpointSpec;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::buffer::Buffer;
use crate::core::Core;
use crate::failure::{Failure, Kind};
use crate::io::{HandshakeError, Tcp, Timer, Tls, Wire};
use crate::metrics::Counter;
use crate::table::{Endpoint, Slot};
use pool::Kept;

/// A connection to an endpoint, in use.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) link: Wire,
    /// Bytes of the upstream that were not used yet.
    pub(crate) input: Buffer,
    pub(crate) reused: bool,
    slot: Slot,
    endpoint: u64,
    /// Which of its host's addresses it goes to.
    peer: Option<SocketAddr>,
}

/// The hosts of URLs are reached by name; all else has one place.
type Made = (Wire, Option<SocketAddr>);

/// Whether a pooled connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A pooled one that looks alive.
    Any,
    /// A pooled one of which the kernel itself says that it is alive. Costs a system call, and is
    /// worth it for a request that may not be sent twice.
    Proven,
    /// After a pooled one turned out to be closed.
    Fresh,
}

impl Upstream {
    /// A connection to `endpoint`: pooled, or made within `time`, which ends at `deadline`.
    pub(crate) async fn acquire(
        core: &Core,
        endpoint: &Arc<Endpoint>,
        wanted: Wanted,
        timer: &mut Timer,
        (time, deadline): (Duration, Option<Instant>),
    ) -> Result<Self, Failure> {
        let limits = &core.shared.limits;
        if wanted != Wanted::Fresh {
            let now = core.shared.clock.monotonic();
            let prove = wanted == Wanted::Proven;
            let pooled = core
                .pools
                .borrow_mut()
                .take(endpoint.id, now, limits.pool_idle, prove);
            if let Some(kept) = pooled {
                core.metrics.add(Counter::Reuses, 1);
                return Ok(Self::new(
                    (kept.link, kept.peer),
                    kept.slot,
                    endpoint.id,
                    true,
                ));
            }
        }
        let slot = endpoint
            .enter(limits.connections_per_endpoint_max)
            .ok_or(Kind::CircuitOpen)?;
        core.metrics.add(Counter::Connects, 1);
        timer.set_within(time, deadline);
        let stage = Cell::new("connecting");
        match before(timer, connect(core, endpoint, &stage)).await {
            None => Err(Failure::because(Kind::ConnectTimeout, stage.get())),
            Some(Err(failure)) => Err(failure),
            Some(Ok(made)) => Ok(Self::new(made, slot, endpoint.id, false)),
        }
    }

    fn new((link, peer): Made, slot: Slot, endpoint: u64, reused: bool) -> Self {
        Self {
            link,
            input: Buffer::default(),
            reused,
            slot,
            endpoint,
            peer,
        }
    }

    /// Puts the connection into the pool. Only after a fully framed answer, a fully sent request
    /// and with no byte left over.
    pub(crate) fn release(self, core: &Core) {
        debug_assert!(self.input.is_empty(), "left-over bytes belong to nobody");
        core.buffers.borrow_mut().give(self.input);
        core.pools.borrow_mut().give(
            self.endpoint,
            Kept {
                link: self.link,
                slot: self.slot,
                peer: self.peer,
                since: core.shared.clock.monotonic(),
            },
            core.shared.limits.pool_size,
        );
    }
}

async fn connect(
    core: &Core,
    endpoint: &Endpoint,
    stage: &Cell<&'static str>,
) -> Result<Made, Failure> {
    let refused = |error: std::io::Error| Failure::because(Kind::Refused, error);
    let (stream, peer) = match &endpoint.spec {
        EndpointSpec::Tcp(address) => (TcpStream::connect(address).await.map_err(refused)?, None),
        EndpointSpec::Handed { instance, port } => {
            let stream = core.shared.dial.dial(instance, *port).await;
            let stream = stream.and_then(|stream| {
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream)
            });
            (stream.map_err(refused)?, None)
        }
        EndpointSpec::Host(host) => {
            let turn = endpoint.next_turn();
            // Apart, so that the futures of all other endpoints stay small.
            let connected = Box::pin(connect::connect_any(&host.addresses, turn)).await;
            let (stream, peer) = connected.map_err(refused)?;
            (stream, Some(peer))
        }
    };
    let tcp = Tcp::new(stream).map_err(refused)?;
    let link = match &endpoint.tls {
        None => Wire::Tcp(tcp),
        Some(client) => {
            stage.set("in the TLS handshake");
            let made = handshake(tcp, client).await;
            let tls = made.inspect_err(|failure| endpoint.warn(core, failure))?;
            Wire::Tls(tls)
        }
    };
    Ok((link, peer))
}

async fn handshake(tcp: Tcp, client: &tls::TlsClient) -> Result<Box<Tls>, Failure> {
    let failure = |error| Failure::because(Kind::UpstreamTls, tls::explain(&error));
    let (config, name) = (Arc::clone(&client.config), client.name.clone());
    let tls = Tls::new(tcp, config, name).map_err(|error| failure(HandshakeError::Tls(error)))?;
    let mut tls = Box::new(tls);
    poll_fn(|cx| tls.poll_handshake(cx))
        .await
        .map_err(failure)?;
    Ok(tls)
}

/// The output of `future`, or `None` at the timer's deadline.
async fn before<F: Future>(timer: &mut Timer, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.poll(cx).map(|()| None),
    })
    .await
}
