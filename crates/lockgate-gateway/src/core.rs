//! What one worker owns, and what all workers share.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lockgate_model::ai::Ledger;
use lockgate_model::{Clock, Rng, Timestamp};
use parking_lot::Mutex;

use crate::Dial;
use crate::buffer::Buffers;
use crate::conn::ai::KnownTerms;
use crate::metrics::{CoreMetrics, Counter};
use crate::policy::auth::KeyHasher;
use crate::policy::limit::AnonymousCells;
use crate::settings::Limits;
use crate::table::Table;
use crate::trace::{RequestId, Trace, TraceQueue};
use crate::upstream::pool::Pools;

/// Shared by all workers. Nothing here is locked on the path of a request.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) hasher: KeyHasher,
    pub(crate) ledger: Option<Arc<dyn Ledger>>,
    pub(crate) anonymous: AnonymousCells,
    pub(crate) draining: AtomicBool,
    /// The table that new requests take; locked only to swap it and to fetch a new one.
    current: Mutex<Arc<Table>>,
    /// Rises with every swap, so that workers look at a number and not at the lock.
    generation: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        limits: Limits,
        clock: Arc<dyn Clock>,
        dial: Arc<dyn Dial>,
        hasher: KeyHasher,
        ledger: Option<Arc<dyn Ledger>>,
        table: Arc<Table>,
    ) -> Self {
        Self {
            limits,
            clock,
            dial,
            hasher,
            ledger,
            anonymous: AnonymousCells::new(),
            draining: AtomicBool::new(false),
            current: Mutex::new(table),
            generation: AtomicU64::new(1),
        }
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.current.lock())
    }

    /// Makes `table` the one that serves. Requests under way keep theirs.
    pub(crate) fn swap(&self, table: Arc<Table>) {
        *self.current.lock() = table;
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// A table as its core holds it. Counted per core, so that requests of different cores do not
/// fight over one counter.
#[derive(Debug)]
pub(crate) struct Held(Arc<Table>);

impl Deref for Held {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.0
    }
}

/// One worker's own things.
pub(crate) struct Core {
    pub(crate) number: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<CoreMetrics>,
    queue: Arc<TraceQueue>,
    pub(crate) buffers: RefCell<Buffers>,
    /// Write buffers that wait for their next request.
    outs: RefCell<Vec<Vec<u8>>>,
    pub(crate) pools: RefCell<Pools>,
    /// What calls to AI vendors have in common.
    pub(crate) terms: RefCell<KnownTerms>,
    table: RefCell<(u64, Rc<Held>)>,
    ids: RefCell<Ids>,
    date: RefCell<(i64, [u8; 29])>,
    turn: Cell<u64>,
}

/// Write buffers kept, and the largest that is.
const OUTS_KEPT: usize = 256;
const OUT_BYTES_KEPT: usize = 64 * 1024;

impl Core {
    pub(crate) fn new(
        number: usize,
        shared: Arc<Shared>,
        metrics: Arc<CoreMetrics>,
        queue: Arc<TraceQueue>,
        rng: &dyn Rng,
    ) -> Self {
        let table = Rc::new(Held(shared.table()));
        Self {
            number,
            metrics,
            queue,
            buffers: RefCell::default(),
            outs: RefCell::default(),
            pools: RefCell::default(),
            terms: RefCell::default(),
            table: RefCell::new((0, table)),
            ids: RefCell::new(Ids::new(rng)),
            date: RefCell::new((i64::MIN, [0; 29])),
            turn: Cell::new(0),
            shared,
        }
    }

    /// The table for a new request.
    pub(crate) fn table(&self) -> Rc<Held> {
        let mut held = self.table.borrow_mut();
        let generation = self.shared.generation.load(Ordering::Acquire);
        if held.0 != generation {
            *held = (generation, Rc::new(Held(self.shared.table())));
        }
        Rc::clone(&held.1)
    }

    /// A number that rises with every call; spreads load.
    pub(crate) fn next_turn(&self) -> u64 {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn next_id(&self, at: Timestamp) -> RequestId {
        self.ids.borrow_mut().next(at)
    }

    /// The value of `Date` for now.
    pub(crate) fn date(&self, at: Timestamp) -> [u8; 29] {
        let mut date = self.date.borrow_mut();
        if date.0 != at.as_secs() {
            *date = (at.as_secs(), http_date(at));
        }
        date.1
    }

    pub(crate) fn take_out(&self) -> Vec<u8> {
        self.outs.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_out(&self, mut out: Vec<u8>) {
        let mut outs = self.outs.borrow_mut();
        if outs.len() < OUTS_KEPT && (1..=OUT_BYTES_KEPT).contains(&out.capacity()) {
            out.clear();
            outs.push(out);
        }
    }

    /// Counts a finished request and hands its trace to the writer.
    pub(crate) fn finish(&self, trace: Trace) {
        let metrics = &self.metrics;
        metrics.finish(trace.failure.as_ref().map(|f| f.kind), trace.total);
        metrics.add(Counter::RequestBytes, trace.request_bytes);
        metrics.add(Counter::ResponseBytes, trace.response_bytes);
        if !self.queue.push(trace) {
            metrics.add(Counter::TracesDropped, 1);
        }
    }
}

/// Makes request ids: UUIDs of version 7, from wall time and a generator seeded once. They must be
/// unique, not secret.
struct Ids {
    state: [u64; 2],
}

impl Ids {
    fn new(rng: &dyn Rng) -> Self {
        // An all-zero state would stay zero.
        Self {
            state: [rng.next_u64() | 1, rng.next_u64()],
        }
    }

    /// xoroshiro128+.
    fn random(&mut self) -> u64 {
        let [a, mut b] = self.state;
        let sum = a.wrapping_add(b);
        b ^= a;
        self.state = [a.rotate_left(24) ^ b ^ (b << 16), b.rotate_left(37)];
        sum
    }

    fn next(&mut self, at: Timestamp) -> RequestId {
        let millis = at.as_millis() as u64 & ((1 << 48) - 1);
        let high = millis << 16 | 0x7000 | self.random() >> 52;
        let low = 1 << 63 | self.random() >> 2;
        let bits = u128::from(high) << 64 | u128::from(low);
        let mut text = [b'-'; 36];
        let mut shift = 128;
        for (at, byte) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                shift -= 4;
                *byte = HEX[(bits >> shift) as usize & 15];
            }
        }
        text
    }
}

/// IMF-fixdate (RFC 9110 §5.6.7), for example `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(at: Timestamp) -> [u8; 29] {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let iso = Timestamp::from_secs(at.as_secs()).to_string();
    let iso = iso.as_bytes();
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    if iso.len() != 20 {
        // A year of five digits: the clock is broken, and the form has no room for it.
        return date;
    }
    let day = at.as_secs().div_euclid(86_400).rem_euclid(7) as usize * 3;
    let month = usize::from((iso[5] - b'0') * 10 + iso[6] - b'0' - 1) * 3;
    date[..3].copy_from_slice(&DAYS[day..day + 3]);
    date[5..7].copy_from_slice(&iso[8..10]);
    date[8..11].copy_from_slice(&MONTHS[month..month + 3]);
    date[12..16].copy_from_slice(&iso[..4]);
    date[17..25].copy_from_slice(&iso[11..19]);
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_form_of_http() {
        assert_eq!(
            &http_date(Timestamp::from_secs(784_111_777)),
            b"Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            &http_date(Timestamp::from_secs(0)),
            b"Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }

    #[test]
    fn ids_are_uuids_of_version_7_and_differ() {
        struct Fixed;
        impl Rng for Fixed {
            fn fill(&self, buffer: &mut [u8]) {
                buffer.fill(0);
            }
        }
        let mut ids = Ids::new(&Fixed);
        let at = Timestamp(1_795_892_403_045_000_000);
        let seen: std::collections::HashSet<_> = (0..1000).map(|_| ids.next(at)).collect();
        assert_eq!(seen.len(), 1000);
        for id in seen {
            let text = std::str::from_utf8(&id).expect("ASCII");
            assert_eq!(&text[..15], "01a22387-5b65-7", "{text}");
            assert!(matches!(id[19], b'8'..=b'b'), "{text}");
        }
    }
}
