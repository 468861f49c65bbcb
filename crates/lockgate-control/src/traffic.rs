//! Request records to roll-ups per route and minute.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::Clock;
use lockgate_model::record::RequestRecord;
use lockgate_store::{LATENCY_BOUNDS_MS, LATENCY_BUCKETS, Rollup, Store};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{Control, ControlError};

/// How often counts are saved: what a crash may lose of them.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long roll-ups are kept, minutes: 30 days.
const KEPT_MINUTES: i64 = 30 * 24 * 60;
/// Most counts kept in memory while the store does not answer; more are dropped and told.
const UNSAVED_MAX: usize = 10_000;
/// Records taken from the queue at once.
const BATCH: usize = 256;

/// Counts that are not saved yet.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<(String, i64), Rollup>);

impl Tally {
    /// Counts one record; false when there was no room for its route and minute.
    pub(crate) fn add(&mut self, record: &RequestRecord) -> bool {
        let route = record.route.clone().unwrap_or_default();
        let minute = record.at.as_secs().div_euclid(60);
        let full = self.0.len() >= UNSAVED_MAX;
        let key = (route.clone(), minute);
        if full && !self.0.contains_key(&key) {
            return false;
        }
        let rollup = self.0.entry(key).or_insert_with(|| Rollup {
            route,
            minute,
            requests: 0,
            errors: 0,
            latency: [0; LATENCY_BUCKETS],
        });
        rollup.requests += 1;
        rollup.errors += u64::from(record.status >= 500);
        let millis = u64::try_from(record.total.as_millis()).unwrap_or(u64::MAX);
        rollup.latency[LATENCY_BOUNDS_MS.partition_point(|bound| *bound < millis)] += 1;
        true
    }

    fn rollups(&self) -> Vec<Rollup> {
        self.0.values().cloned().collect()
    }
}

/// Takes records until the queue ends or the node closes, and saves what was counted.
pub(crate) async fn run(
    mut records: mpsc::Receiver<RequestRecord>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    closing: CancellationToken,
) {
    let mut tally = Tally::default();
    let mut dropped = 0_u64;
    let mut ticks = tokio::time::interval(SAVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            taken = records.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    break;
                }
                let missed = batch.drain(..).filter(|record| !tally.add(record)).count();
                dropped += missed as u64;
            }
            _ = ticks.tick() => {
                save(&mut tally, store.as_ref()).await;
                let now = clock.now().as_secs().div_euclid(60);
                if let Err(error) = store.drop_rollups(now - KEPT_MINUTES).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "old roll-ups stay");
                }
                if dropped > 0 {
                    tracing::warn!(dropped, "request counts were dropped, the store is behind");
                    dropped = 0;
                }
            }
            () = closing.cancelled() => break,
        }
    }
    records.close();
    while let Ok(record) = records.try_recv() {
        tally.add(&record);
    }
    save(&mut tally, store.as_ref()).await;
}

/// Saves the counts; they stay for the next time when the store fails.
async fn save(tally: &mut Tally, store: &dyn Store) {
    if tally.0.is_empty() {
        return;
    }
    match store.add_rollups(&tally.rollups()).await {
        Ok(()) => tally.0.clear(),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "counts are not saved yet"
            );
        }
    }
}

impl Control {
    /// Request counts of all routes together in the last `minutes`, the running one included,
    /// oldest first, minutes without requests left out. The last seconds may be missing.
    pub async fn find_traffic_by_minute(&self, minutes: u32) -> Result<Vec<Rollup>, ControlError> {
        let from = self.first_minute(minutes);
        let found = self.shared.store.sum_rollups_by_minute(from).await;
        found.map_err(ControlError::Store)
    }

    /// Request counts of each of `routes` over the last `minutes`, the running one included; an
    /// empty name stands for the requests that matched no route. Routes without requests are left
    /// out.
    pub async fn find_traffic_by_route(
        &self,
        routes: &[String],
        minutes: u32,
    ) -> Result<Vec<Rollup>, ControlError> {
        let from = self.first_minute(minutes);
        let found = self.shared.store.sum_rollups_by_route(routes, from).await;
        found.map_err(ControlError::Store)
    }

    /// The first of `minutes` minutes that end with the running one.
    fn first_minute(&self, minutes: u32) -> i64 {
        let now = self.shared.clock.now().as_secs().div_euclid(60);
        now + 1 - i64::from(minutes)
    }
}
