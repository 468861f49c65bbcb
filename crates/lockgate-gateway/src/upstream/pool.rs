//! Idle upstream connections and retry budgets of one core.

use std::collections::HashMap;
use std::time::Duration;

use crate::io::Tcp;
use crate::table::{Slot, Table};

/// A retry balance in fifths: every request adds one, every retry takes five, at most fifteen.
/// So a core sends at most 1.2 times what clients sent, plus three, even when everything fails.
const RETRY_COST: u32 = 5;
const RETRY_CAP: u32 = 15;

/// Idle connections by endpoint, the youngest last.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    idle: HashMap<u64, Vec<Idle>>,
    budgets: HashMap<std::sync::Arc<str>, u32>,
}

#[derive(Debug)]
struct Idle {
    link: Tcp,
    slot: Slot,
    since: Duration,
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
    ) -> Option<(Tcp, Slot)> {
        let idle = self.idle.get_mut(&endpoint)?;
        while let Some(candidate) = idle.pop() {
            if now.saturating_sub(candidate.since) >= idle_max {
                idle.clear();
                return None;
            }
            if !candidate.link.is_stale(prove) {
                return Some((candidate.link, candidate.slot));
            }
        }
        None
    }

    /// Keeps a connection for later, up to `size` per endpoint.
    pub(crate) fn give(
        &mut self,
        endpoint: u64,
        (link, slot): (Tcp, Slot),
        since: Duration,
        size: usize,
    ) {
        let idle = self.idle.entry(endpoint).or_default();
        if idle.len() < size {
            idle.push(Idle { link, slot, since });
        }
    }

    /// Closes connections that waited too long, and those to endpoints that `table` has not:
    /// removed endpoints drain.
    pub(crate) fn reap(&mut self, table: &Table, now: Duration, idle_max: Duration) {
        if !self.idle.is_empty() {
            let wanted: std::collections::HashSet<u64> = table
                .upstreams
                .iter()
                .flat_map(|upstream| &upstream.endpoints)
                .map(|endpoint| endpoint.id)
                .collect();
            self.idle.retain(|endpoint, idle| {
                idle.retain(|i| now.saturating_sub(i.since) < idle_max);
                !idle.is_empty() && wanted.contains(endpoint)
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
