//! Counters of the gateway, one shard per core, summed when scraped.
//!
//! Labels come from closed sets: kinds of failure, classes of status, names of routes.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::failure::Kind;
use crate::table::Table;

/// Declares the plain counters and gauges of a core as one table.
macro_rules! counters {
    ($($counter:ident $name:literal $kind:literal $help:literal;)*) => {
        /// A number of a core.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Counter { $($counter),* }

        /// Name, kind and help, in the order of [`Counter`].
        const COUNTERS: &[(&str, &str, &str)] = &[$(($name, $kind, $help)),*];
    };
}

counters! {
    Connections "lockgate_gateway_connections_total" "counter" "Client connections accepted.";
    Open "lockgate_gateway_connections_open" "gauge" "Client connections open now.";
    Requests "lockgate_gateway_requests_total" "counter" "Requests finished, with or without a route.";
    RequestBytes "lockgate_gateway_request_body_bytes_total" "counter" "Body bytes from clients.";
    ResponseBytes "lockgate_gateway_response_body_bytes_total" "counter" "Body bytes to clients.";
    Connects "lockgate_gateway_upstream_connects_total" "counter" "Connections made to upstreams.";
    Reuses "lockgate_gateway_upstream_reuses_total" "counter" "Requests sent on a pooled connection.";
    Retries "lockgate_gateway_upstream_retries_total" "counter" "Further tries of a request.";
    AcceptErrors "lockgate_gateway_accept_errors_total" "counter" "Failures to accept a connection.";
    Panics "lockgate_gateway_panics_total" "counter" "Connections ended by a defect of the gateway.";
    TracesDropped "lockgate_gateway_log_dropped_total" "counter" "Requests without log line and record, because the writer was behind.";
}

/// Upper bounds of the duration histogram, in microseconds.
const BUCKETS_US: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// The shard of one core. Only its core writes, so a load and a store are enough.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct CoreMetrics {
    counters: [AtomicU64; COUNTERS.len()],
    failures: [AtomicU64; Kind::ALL.len()],
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    duration_us: AtomicU64,
}

fn add(cell: &AtomicU64, n: u64) {
    let sum = cell.load(Ordering::Relaxed).wrapping_add(n);
    cell.store(sum, Ordering::Relaxed);
}

impl CoreMetrics {
    pub(crate) fn new() -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; COUNTERS.len()],
            failures: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            buckets: [const { AtomicU64::new(0) }; BUCKETS_US.len() + 1],
            duration_us: AtomicU64::new(0),
        }
    }

    pub(crate) fn add(&self, counter: Counter, n: u64) {
        add(&self.counters[counter as usize], n);
    }

    pub(crate) fn subtract(&self, counter: Counter, n: u64) {
        add(&self.counters[counter as usize], n.wrapping_neg());
    }

    /// Counts a finished request.
    pub(crate) fn finish(&self, failure: Option<Kind>, total: Duration) {
        self.add(Counter::Requests, 1);
        if let Some(kind) = failure {
            add(&self.failures[kind as usize], 1);
        }
        let us = u64::try_from(total.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        add(&self.buckets[bucket], 1);
        add(&self.duration_us, us);
    }
}

/// Requests of one route by class of status, one shard per core.
#[derive(Debug)]
pub(crate) struct RouteStats {
    shards: Box<[RouteShard]>,
}

/// Classes of status: the first digit, 0 unused.
#[derive(Debug, Default)]
#[repr(align(128))]
struct RouteShard([AtomicU64; 6]);

impl RouteStats {
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            shards: (0..cores).map(|_| RouteShard::default()).collect(),
        }
    }

    /// Counts a request served by `core`.
    pub(crate) fn count(&self, core: usize, status: u16) {
        if let Some(shard) = self.shards.get(core) {
            add(&shard.0[usize::from(status / 100).min(5)], 1);
        }
    }

    fn sum(&self, class: usize) -> u64 {
        self.shards
            .iter()
            .map(|s| s.0[class].load(Ordering::Relaxed))
            .sum()
    }
}

/// Numbers that belong to no core.
#[derive(Debug, Default)]
pub(crate) struct Global {
    pub(crate) tables_rejected: AtomicU64,
    pub(crate) records_dropped: AtomicU64,
    pub(crate) log_lines_dropped: AtomicU64,
}

/// The Prometheus text of everything (exposition format 0.0.4).
pub(crate) fn render(cores: &[Arc<CoreMetrics>], global: &Global, table: &Table) -> String {
    let mut out = String::with_capacity(8192);
    let sum = |cell: &dyn Fn(&CoreMetrics) -> &AtomicU64| {
        cores
            .iter()
            .map(|core| cell(core).load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    };
    for (at, (name, kind, help)) in COUNTERS.iter().enumerate() {
        let total = sum(&|core| &core.counters[at]);
        head(&mut out, name, kind, help);
        line(&mut out, format_args!("{name} {total}"));
    }
    for (name, help, cell) in [
        (
            "lockgate_gateway_tables_rejected_total",
            "Specs refused because of an error.",
            &global.tables_rejected,
        ),
        (
            "lockgate_gateway_records_dropped_total",
            "Request records that found no room in the channel.",
            &global.records_dropped,
        ),
        (
            "lockgate_gateway_log_lines_dropped_total",
            "Access-log lines that could not be written.",
            &global.log_lines_dropped,
        ),
    ] {
        head(&mut out, name, "counter", help);
        line(
            &mut out,
            format_args!("{name} {}", cell.load(Ordering::Relaxed)),
        );
    }
    let name = "lockgate_gateway_table_version";
    head(&mut out, name, "gauge", "Version of the table that serves.");
    line(&mut out, format_args!("{name} {}", table.version));
    let name = "lockgate_gateway_failures_total";
    head(&mut out, name, "counter", "Requests that failed, by kind.");
    for kind in Kind::ALL {
        let total = sum(&|core| &core.failures[*kind as usize]);
        line(
            &mut out,
            format_args!(
                "{name}{{kind=\"{}\",side=\"{}\"}} {total}",
                kind.reason(),
                kind.side().as_str()
            ),
        );
    }
    durations(&mut out, &sum);
    let name = "lockgate_gateway_route_requests_total";
    head(
        &mut out,
        name,
        "counter",
        "Requests of a route, by class of status.",
    );
    for route in &table.routes {
        for class in 1..=5 {
            let label = route.name.replace('\\', "\\\\").replace('"', "\\\"");
            line(
                &mut out,
                format_args!(
                    "{name}{{route=\"{label}\",class=\"{class}xx\"}} {}",
                    route.stats.sum(class)
                ),
            );
        }
    }
    out
}

/// Sums one cell over all cores.
type Sum<'a> = dyn Fn(&dyn Fn(&CoreMetrics) -> &AtomicU64) -> u64 + 'a;

fn durations(out: &mut String, sum: &Sum<'_>) {
    let name = "lockgate_gateway_request_duration_seconds";
    head(
        out,
        name,
        "histogram",
        "Head complete to the end of the answer.",
    );
    let mut total = 0;
    for at in 0..=BUCKETS_US.len() {
        total += sum(&|core| &core.buckets[at]);
        match BUCKETS_US.get(at) {
            Some(us) => {
                let bound = Duration::from_micros(*us).as_secs_f64();
                line(out, format_args!("{name}_bucket{{le=\"{bound}\"}} {total}"));
            }
            None => line(out, format_args!("{name}_bucket{{le=\"+Inf\"}} {total}")),
        }
    }
    let seconds = Duration::from_micros(sum(&|core| &core.duration_us)).as_secs_f64();
    line(out, format_args!("{name}_sum {seconds}"));
    line(out, format_args!("{name}_count {total}"));
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}"));
    line(out, format_args!("# TYPE {name} {kind}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}
