//! The immutable table that serves requests: compiled off the hot path, swapped whole.
//!
//! State is not configuration: limiter cells, endpoints and counters live in [`State`], keyed by
//! stable names, and survive a swap.

pub(crate) mod ai;
pub(crate) mod compile;
pub(crate) mod router;
pub(crate) mod state;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use lockgate_model::gateway::{EndpointSpec, TimeoutPolicy};

use self::ai::AiRoute;
use crate::core::Core;
use crate::failure::{Failure, Form};
use crate::metrics::RouteStats;
use crate::policy::auth::Keys;
use crate::policy::limit::{ConsumerCells, Rate};
use crate::upstream::tls::TlsClient;
use router::Router;

/// One version of everything a request needs.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) version: u64,
    pub(crate) router: Router,
    pub(crate) routes: Vec<Route>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) keys: Keys,
    pub(crate) upstreams: Vec<Upstream>,
}

#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) conditions: Conditions,
    /// Upstream index and the sum of weights up to it.
    pub(crate) backends: Vec<(u32, u64)>,
    /// Without a trailing slash.
    pub(crate) strip_prefix: Option<Box<str>>,
    pub(crate) auth: Auth,
    pub(crate) limit: Option<Limit>,
    pub(crate) timeouts: TimeoutPolicy,
    pub(crate) body_bytes_max: Option<u64>,
    /// Models answer instead of backends.
    pub(crate) ai: Option<AiRoute>,
    pub(crate) stats: Arc<RouteStats>,
}

impl Route {
    /// The form in which its clients read errors.
    pub(crate) fn error_form(&self) -> Form {
        match &self.ai {
            None => Form::Problem,
            Some(_) => Form::OpenAi,
        }
    }

    /// The upstream for the `turn`-th request.
    pub(crate) fn backend(&self, turn: u64) -> u32 {
        match self.backends.as_slice() {
            [(only, _)] => *only,
            many => {
                let total = many.last().map_or(1, |(_, sum)| *sum);
                let at = turn % total;
                many.iter()
                    .find(|(_, sum)| at < *sum)
                    .map_or(0, |(index, _)| *index)
            }
        }
    }
}

/// What is tested on the candidates that host and path leave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) methods: Vec<Box<str>>,
    pub(crate) headers: Vec<(Box<str>, Option<Box<str>>)>,
    pub(crate) query: Vec<(Box<str>, Option<Box<str>>)>,
}

#[derive(Debug)]
pub(crate) enum Auth {
    Public,
    ApiKey {
        /// Lower case.
        header: Box<str>,
        /// Indexes of the consumers that may call; `None` means all.
        consumers: Option<HashSet<u32>>,
    },
}

#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) rate: Rate,
    pub(crate) cells: ConsumerCells,
}

#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) name: Arc<str>,
    /// Its cell number in every limit.
    pub(crate) slot: u32,
}

#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
}

/// An endpoint as one table has it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Never reused in this process, so a pool keyed by it cannot meet another endpoint.
    pub(crate) id: u64,
    pub(crate) spec: EndpointSpec,
    /// How TLS is spoken to it; the same object, with its sessions, in every table.
    pub(crate) tls: Option<Arc<TlsClient>>,
    counts: Arc<Counts>,
}

/// What is counted of an endpoint, the same object in every table that has it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections of all cores, idle ones included.
    connections: AtomicU32,
    /// Connections that were made.
    turn: AtomicU32,
    /// Second after which the log may be told again that it cannot be trusted.
    quiet_until: AtomicU64,
}

/// Seconds between two warnings about one endpoint: its requests would fill the log.
const WARNING_INTERVAL: u64 = 60;

impl Endpoint {
    /// A number that rises with every connection; spreads them over the addresses of a host.
    pub(crate) fn next_turn(&self) -> usize {
        self.counts.turn.fetch_add(1, Ordering::Relaxed) as usize
    }

    /// Tells the log that TLS with this endpoint does not come about.
    pub(crate) fn warn(&self, core: &Core, failure: &Failure) {
        let EndpointSpec::Host(host) = &self.spec else {
            return;
        };
        let now = core.shared.clock.monotonic().as_secs();
        let until = self.counts.quiet_until.load(Ordering::Relaxed);
        let quiet = now < until
            || self
                .counts
                .quiet_until
                .compare_exchange(
                    until,
                    now + WARNING_INTERVAL,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_err();
        if !quiet {
            let cause = failure.cause.as_deref().unwrap_or_default();
            tracing::warn!(upstream = %host.authority, cause, "no TLS connection to an upstream");
        }
    }

    /// Counts a connection in; `None` when `max` are open.
    pub(crate) fn enter(&self, max: u32) -> Option<Slot> {
        self.counts
            .connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < max).then_some(n + 1)
            })
            .ok()?;
        Some(Slot(Arc::clone(&self.counts)))
    }
}

/// A counted connection to an endpoint; counted out on every way out.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Counts>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
