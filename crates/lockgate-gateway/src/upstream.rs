//! Connections to upstreams: one pool per core, keyed by endpoint.

pub(crate) mod pool;

use std::future::{Future, poll_fn};
use std::io;
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
use crate::io::{Tcp, Timer};
use crate::metrics::Counter;
use crate::table::{Endpoint, Slot};

/// A connection to an endpoint, in use.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) link: Tcp,
    /// Bytes of the upstream that were not used yet.
    pub(crate) input: Buffer,
    pub(crate) reused: bool,
    slot: Slot,
    endpoint: u64,
}

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
            if let Some((link, slot)) = pooled {
                core.metrics.add(Counter::Reuses, 1);
                return Ok(Self::new(link, slot, endpoint.id, true));
            }
        }
        let slot = endpoint
            .enter(limits.connections_per_endpoint_max)
            .ok_or(Kind::CircuitOpen)?;
        core.metrics.add(Counter::Connects, 1);
        timer.set_within(time, deadline);
        let link = match before(timer, connect(core, &endpoint.spec)).await {
            None => return Err(Kind::ConnectTimeout.into()),
            Some(Err(e)) => return Err(Failure::because(Kind::Refused, e)),
            Some(Ok(link)) => link,
        };
        Ok(Self::new(link, slot, endpoint.id, false))
    }

    fn new(link: Tcp, slot: Slot, endpoint: u64, reused: bool) -> Self {
        Self {
            link,
            input: Buffer::default(),
            reused,
            slot,
            endpoint,
        }
    }

    /// Puts the connection into the pool. Only after a fully framed answer, a fully sent request
    /// and with no byte left over.
    pub(crate) fn release(self, core: &Core) {
        debug_assert!(self.input.is_empty(), "left-over bytes belong to nobody");
        core.buffers.borrow_mut().give(self.input);
        core.pools.borrow_mut().give(
            self.endpoint,
            (self.link, self.slot),
            core.shared.clock.monotonic(),
            core.shared.limits.pool_size,
        );
    }
}

async fn connect(core: &Core, endpoint: &EndpointSpec) -> io::Result<Tcp> {
    let stream = match endpoint {
        EndpointSpec::Tcp(address) => TcpStream::connect(address).await?,
        EndpointSpec::Handed { instance, port } => {
            let stream = core.shared.dial.dial(instance, *port).await?;
            stream.set_nonblocking(true)?;
            TcpStream::from_std(stream)?
        }
    };
    Tcp::new(stream)
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
