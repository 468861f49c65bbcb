//! What outlives a table: endpoints, limiter cells, consumer slots and route counters.

use std::collections::HashMap;
use std::sync::Arc;

use lockgate_model::gateway::{EndpointSpec, GatewaySpec, HostSpec};

use super::{Counts, Endpoint};
use crate::metrics::RouteStats;
use crate::policy::limit::ConsumerCells;
use crate::upstream::tls::{TlsClient, TlsClients};

/// Most consumer names remembered for their limiter slot. Names of removed consumers stay, so that
/// removing and adding one does not refill its limits.
const SLOTS_MAX: usize = 1 << 20;

/// State keyed by stable names. Owned by the compiling thread.
#[derive(Debug)]
pub(crate) struct State {
    cores: usize,
    /// Makes the TLS sides of endpoints; `None` for a state that only checks specs.
    tls: Option<TlsClients>,
    endpoints: HashMap<EndpointSpec, Kept>,
    endpoints_made: u64,
    slots: HashMap<Arc<str>, u32>,
    cells: HashMap<Arc<str>, ConsumerCells>,
    stats: HashMap<Arc<str>, Arc<RouteStats>>,
}

/// What stays of an endpoint from table to table.
#[derive(Debug)]
struct Kept {
    id: u64,
    tls: Option<Arc<TlsClient>>,
    counts: Arc<Counts>,
}

/// What an endpoint is known by: a host is the same one whatever its addresses are.
fn identity(spec: &EndpointSpec) -> EndpointSpec {
    match spec {
        EndpointSpec::Host(host) => EndpointSpec::Host(HostSpec {
            addresses: Vec::new(),
            ..host.clone()
        }),
        other => other.clone(),
    }
}

impl State {
    /// State for a gateway of `cores` workers.
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            cores,
            tls: None,
            endpoints: HashMap::new(),
            endpoints_made: 0,
            slots: HashMap::new(),
            cells: HashMap::new(),
            stats: HashMap::new(),
        }
    }

    /// The same with TLS to upstreams.
    pub(crate) fn with_tls(self, tls: TlsClients) -> Self {
        Self {
            tls: Some(tls),
            ..self
        }
    }

    /// The endpoint of `spec`, for one table.
    pub(crate) fn endpoint(&mut self, spec: &EndpointSpec) -> Arc<Endpoint> {
        let next = self.endpoints_made + 1;
        let kept = self.endpoints.entry(identity(spec)).or_insert_with(|| {
            let spoken = match spec {
                EndpointSpec::Host(host) => host.tls.as_ref(),
                EndpointSpec::Tcp(_) | EndpointSpec::Handed { .. } => None,
            };
            let clients = self.tls.as_mut();
            let client = clients.and_then(|tls| spoken.map(|spec| Arc::new(tls.client(spec))));
            Kept {
                id: next,
                tls: client,
                counts: Arc::default(),
            }
        });
        self.endpoints_made = self.endpoints_made.max(kept.id);
        Arc::new(Endpoint {
            id: kept.id,
            spec: spec.clone(),
            tls: kept.tls.clone(),
            counts: Arc::clone(&kept.counts),
        })
    }

    /// The limiter slot of a consumer.
    pub(crate) fn slot(&mut self, consumer: &Arc<str>) -> u32 {
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        *self.slots.entry(Arc::clone(consumer)).or_insert(next)
    }

    /// The limiter cells of a route, with room for every known slot.
    pub(crate) fn cells(&mut self, route: &Arc<str>) -> ConsumerCells {
        let cells = self.cells.entry(Arc::clone(route)).or_default();
        *cells = cells.with_room(self.slots.len());
        cells.clone()
    }

    /// The counters of a route.
    pub(crate) fn stats(&mut self, route: &Arc<str>) -> Arc<RouteStats> {
        let cores = self.cores;
        Arc::clone(
            self.stats
                .entry(Arc::clone(route))
                .or_insert_with(|| Arc::new(RouteStats::new(cores))),
        )
    }

    /// Forgets what `spec` does not name.
    pub(crate) fn retain(&mut self, spec: &GatewaySpec) {
        let endpoints = spec.upstreams.iter().flat_map(|u| &u.endpoints);
        let endpoints: std::collections::HashSet<_> = endpoints.map(identity).collect();
        let routes: std::collections::HashSet<_> =
            spec.routes.iter().map(|r| r.name.as_str()).collect();
        self.endpoints.retain(|spec, _| endpoints.contains(spec));
        self.cells.retain(|name, _| routes.contains(&**name));
        self.stats.retain(|name, _| routes.contains(&**name));
        if self.slots.len() > SLOTS_MAX {
            // Slots start again, and so must the cells: a slot may not inherit another's.
            self.slots.clear();
            self.cells.clear();
        }
    }
}
