//! Idle upstream connections and retry budgets of one core.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use lockgate_model::gateway::EndpointSpec;

use crate::io::Wire;
use crate::table::{Slot, Table};

/// A retry balance in fifths: every request adds one, every retry takes five, at most fifteen.
/// So a core sends at most 1.2 times what clients sent, plus three, even when everything fails.
const RETRY_COST: u32 = 5;
const RETRY_CAP: u32 = 15;

/// Idle connections by endpoint, the youngest last.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    idle: HashMap<u64, Vec<Kept>>,
    budgets: HashMap<std::sync::Arc<str>, u32>,
}

/// An idle connection.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) link: Wire,
    pub(crate) slot: Slot,
    /// Which of its host's addresses it goes to.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) since: Duration,
}

impl Pools {
    /// The youngest usable connection to `endpoint`. Connections that got bytes or an end while
    /// they were idle are dropped.
    pub(crate) fn take(
        &mut self,
        endpoint: u64,
        now: Duration,
        idle_max: Duration,
        prove: bool,
    ) -> Option<Kept> {
        let idle = self.idle.get_mut(&endpoint)?;
        while let Some(mut candidate) = idle.pop() {
            if now.saturating_sub(candidate.since) >= idle_max {
                candidate.link.close();
                idle.drain(..).for_each(|older| older.link.close());
                return None;
            }
            if !candidate.link.is_stale(prove) {
                return Some(candidate);
            }
        }
        None
    }

    /// Keeps a connection for later, up to `size` per endpoint.
    pub(crate) fn give(&mut self, endpoint: u64, kept: Kept, size: usize) {
        let idle = self.idle.entry(endpoint).or_default();
        if idle.len() < size {
            idle.push(kept);
        } else {
            kept.link.close();
        }
    }

    /// Closes connections that waited too long, and those to endpoints or addresses that `table`
    /// has not: what was removed drains.
    pub(crate) fn reap(&mut self, table: &Table, now: Duration, idle_max: Duration) {
        if !self.idle.is_empty() {
            let wanted: HashMap<u64, &EndpointSpec> = table
                .upstreams
                .iter()
                .flat_map(|upstream| &upstream.endpoints)
                .map(|endpoint| (endpoint.id, &endpoint.spec))
                .collect();
            self.idle.retain(|endpoint, idle| {
                let spec = wanted.get(endpoint);
                let is_old = |kept: &mut Kept| {
                    now.saturating_sub(kept.since) >= idle_max
                        || !spec.is_some_and(|spec| has_address(spec, kept.peer))
                };
                idle.extract_if(.., is_old)
                    .for_each(|kept| kept.link.close());
                !idle.is_empty()
            });
        }
        if self.budgets.len() > table.upstreams.len() {
            let wanted: std::collections::HashSet<&str> =
                table.upstreams.iter().map(|u| &*u.name).collect();
            self.budgets.retain(|name, _| wanted.contains(&**name));
        }
    }

    /// Counts a request to `upstream` towards its retry balance.
    pub(crate) fn earn(&mut self, upstream: &std::sync::Arc<str>) {
        match self.budgets.get_mut(upstream) {
            Some(balance) => *balance = (*balance + 1).min(RETRY_CAP),
            None => {
                self.budgets.insert(upstream.clone(), RETRY_CAP);
            }
        }
    }

    /// Takes one retry from the balance of `upstream`, if it has one.
    pub(crate) fn spend(&mut self, upstream: &str) -> bool {
        match self.budgets.get_mut(upstream) {
            Some(balance) if *balance >= RETRY_COST => {
                *balance -= RETRY_COST;
                true
            }
            _ => false,
        }
    }
}

fn has_address(spec: &EndpointSpec, peer: Option<SocketAddr>) -> bool {
    match (spec, peer) {
        (EndpointSpec::Host(host), Some(peer)) => host.addresses.contains(&peer),
        _ => true,
    }
}
