//! Rate limits: one atomic cell per caller, exact across cores without a lock.
//!
//! A cell holds the theoretical arrival time of GCRA: the moment at which the caller's bucket is
//! full again. Over any time `t` a cell admits at most `burst + rate × t` requests.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lockgate_model::gateway::RateLimitPolicy;

/// Fastest rate, per second. Above it whole nanoseconds no longer express the interval.
pub(crate) const PER_SECOND_MAX: u64 = 10_000_000;
/// Longest time a full burst may take to come back.
const SPAN_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A limit in the units of its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Nanoseconds between two requests at the full rate, rounded up: never above the limit.
    interval: u64,
    pub(crate) burst: u64,
}

impl Rate {
    /// `None` when the policy cannot be enforced.
    pub(crate) fn new(policy: &RateLimitPolicy) -> Option<Self> {
        let per = u64::try_from(policy.per.as_nanos()).ok()?;
        if policy.requests == 0 || policy.burst == 0 || per == 0 {
            return None;
        }
        let interval = per.div_ceil(policy.requests);
        if u128::from(policy.requests) * 1_000_000_000
            > u128::from(per) * u128::from(PER_SECOND_MAX)
        {
            return None;
        }
        let span = interval.checked_mul(policy.burst)?;
        (u128::from(span) <= SPAN_MAX.as_nanos()).then_some(Self {
            interval,
            burst: policy.burst,
        })
    }

    /// Nanoseconds that an empty bucket takes to fill.
    pub(crate) const fn span(self) -> u64 {
        self.interval * self.burst
    }

    /// Takes one request from `cell` at `now`, or says how many nanoseconds to wait.
    pub(crate) fn take(self, cell: &AtomicU64, now: u64) -> Result<(), u64> {
        let mut seen = cell.load(Ordering::Relaxed);
        loop {
            let next = seen.max(now).saturating_add(self.interval);
            let ahead = next.saturating_sub(now);
            if ahead > self.span() {
                return Err(ahead - self.span());
            }
            match cell.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }
}

/// Cells of one page; pages are made when the first of their consumers calls.
const PAGE_CELLS: usize = 64;

type Page = OnceLock<Box<[AtomicU64; PAGE_CELLS]>>;

/// The cells of one route's known consumers, by the consumer's slot. Outlives tables: a new table
/// takes over the pages of the old one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerCells {
    pages: Vec<Arc<Page>>,
}

impl ConsumerCells {
    /// The same cells, with room for `slots` consumers.
    pub(crate) fn with_room(&self, slots: usize) -> Self {
        let mut pages = self.pages.clone();
        let wanted = slots.div_ceil(PAGE_CELLS).max(pages.len());
        pages.resize_with(wanted, Arc::default);
        Self { pages }
    }

    /// The cell of `slot`, which must be below the room asked for.
    pub(crate) fn get(&self, slot: u32) -> Option<&AtomicU64> {
        let slot = slot as usize;
        let page = self.pages.get(slot / PAGE_CELLS)?;
        let cells = page.get_or_init(|| Box::new([const { AtomicU64::new(0) }; PAGE_CELLS]));
        Some(&cells[slot % PAGE_CELLS])
    }
}

/// Cells of callers without a name. A power of two; 64 Ki cells are 512 KiB.
const ANONYMOUS_CELLS: usize = 1 << 16;

/// The cells of callers known only by their network, shared by all routes. A fixed set chosen by a
/// keyed hash: nothing is ever evicted, so no flood of addresses can refill a hot cell. Two
/// callers that meet in one cell are limited together, which is stricter, never looser.
#[derive(Debug)]
pub(crate) struct AnonymousCells {
    cells: Box<[AtomicU64]>,
    hasher: std::hash::RandomState,
}

impl AnonymousCells {
    pub(crate) fn new() -> Self {
        Self {
            cells: (0..ANONYMOUS_CELLS).map(|_| AtomicU64::new(0)).collect(),
            hasher: std::hash::RandomState::new(),
        }
    }

    /// The cell of `client`'s network (the address for IPv4, the /64 for IPv6) on `route`.
    pub(crate) fn get(&self, route: &str, client: IpAddr) -> &AtomicU64 {
        let network = match client.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let hash = self.hasher.hash_one((route, network, client.is_ipv4()));
        &self.cells[hash as usize & (ANONYMOUS_CELLS - 1)]
    }
}

#[cfg(test)]
mod tests;
