//! What the page says about services, routes and minutes: model in, words out. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use lockgate_control::Rollup;
use lockgate_model::gateway::{AuthPolicy, PathMatch, RateLimitPolicy, RouteMatch, RouteSpec};
use lockgate_model::service::{ServicePhase, ServiceStatus};

use super::figures::{Bound, Counts, bound_text, count_text, minute_text, rate_text, share_text};

/// Digits of a digest that tell two apart at a glance.
const DIGEST_DIGITS: usize = 12;
/// Time of the running minute below which its rate says nothing yet, seconds.
const RUNNING_SECONDS_MIN: u64 = 10;

/// One service.
pub(super) struct ServiceRow {
    pub(super) name: String,
    /// A word, a shape and a class that gives both a colour.
    pub(super) state: &'static str,
    pub(super) shape: &'static str,
    pub(super) tone: &'static str,
    pub(super) digest: String,
    pub(super) digest_short: String,
    pub(super) generation: u64,
    pub(super) instances: usize,
    pub(super) healthy: usize,
    pub(super) restarts: u32,
}

impl From<&ServiceStatus> for ServiceRow {
    fn from(service: &ServiceStatus) -> Self {
        let (state, shape, tone) = match service.phase {
            ServicePhase::Healthy => ("healthy", "●", "good"),
            ServicePhase::Starting => ("starting", "◐", "busy"),
            ServicePhase::RollingOut => ("rolling out", "◐", "busy"),
            ServicePhase::Degraded => ("degraded", "▲", "bad"),
            ServicePhase::Stopped => ("stopped", "■", "off"),
        };
        Self {
            name: service.id.to_string(),
            state,
            shape,
            tone,
            digest: service.digest.to_string(),
            digest_short: service.digest.hex().chars().take(DIGEST_DIGITS).collect(),
            generation: service.generation,
            instances: service.instances.len(),
            healthy: service.instances.iter().filter(|i| i.healthy).count(),
            restarts: service.instances.iter().map(|i| i.restarts).sum(),
        }
    }
}

/// One route and its last hour.
pub(super) struct RouteRow {
    pub(super) name: String,
    pub(super) takes: String,
    /// Upstreams, or the models of an AI route.
    pub(super) backends: Vec<String>,
    pub(super) callers: String,
    pub(super) limit: String,
    pub(super) requests: String,
    pub(super) errors: String,
    pub(super) has_errors: bool,
    pub(super) p95: String,
}

impl RouteRow {
    /// `traffic` holds the route's hour if there was any.
    pub(super) fn new(route: &RouteSpec, traffic: &BTreeMap<&str, &Rollup>) -> Self {
        let counts = Counts::of(traffic.get(route.name.as_str()).copied());
        let weights: u32 = route.backends.iter().map(|backend| backend.weight).sum();
        let backend = |backend: &lockgate_model::gateway::BackendSpec| {
            if route.backends.len() == 1 {
                return backend.upstream.clone();
            }
            let share = share_text(u64::from(backend.weight), u64::from(weights));
            format!("{} ({share})", backend.upstream)
        };
        Self {
            name: route.name.clone(),
            takes: takes_text(&route.matches),
            backends: match &route.ai {
                Some(ai) => ai.models.clone(),
                None => route.backends.iter().map(backend).collect(),
            },
            callers: callers_text(&route.auth),
            limit: route.rate_limit.as_ref().map_or("none".into(), limit_text),
            requests: count_text(counts.requests),
            errors: count_text(counts.errors),
            has_errors: counts.errors > 0,
            p95: bound_text(&counts.latency, 95),
        }
    }
}

/// Methods, hosts and paths; what is not limited is not said.
fn takes_text(matches: &RouteMatch) -> String {
    let paths = matches.paths.iter().map(|path| match path {
        PathMatch::Exact(path) => path.clone(),
        PathMatch::Prefix(path) => format!("{}/…", path.trim_end_matches('/')),
        PathMatch::Regex(pattern) => format!("~ {pattern}"),
    });
    let paths: Vec<String> = paths.collect();
    let conditions = matches.headers.len() + matches.query.len();
    let mut parts = vec![
        matches.methods.join(", "),
        matches.hosts.join(", "),
        paths.join(", "),
    ];
    if conditions > 0 {
        parts.push(format!("+ {conditions} header or query conditions"));
    }
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        return "every request".into();
    }
    parts.join(" ")
}

fn callers_text(auth: &AuthPolicy) -> String {
    match auth {
        AuthPolicy::Public => "anybody".into(),
        AuthPolicy::ApiKey { consumers, .. } if consumers.is_empty() => "any API key".into(),
        AuthPolicy::ApiKey { consumers, .. } => format!("API keys of {}", consumers.join(", ")),
    }
}

fn limit_text(limit: &RateLimitPolicy) -> String {
    let per = match limit.per {
        per if per == Duration::from_secs(1) => "s".to_owned(),
        per if per == Duration::from_secs(60) => "min".to_owned(),
        per if per == Duration::from_secs(3600) => "h".to_owned(),
        per => format!("{per:?}"),
    };
    format!("{} / {per} each", count_text(limit.requests))
}

/// One minute of the last hour; also what charts are drawn from.
pub(super) struct MinuteRow {
    pub(super) time: String,
    /// Seconds since the epoch.
    pub(super) at: i64,
    pub(super) running: bool,
    pub(super) requests: String,
    pub(super) errors: String,
    pub(super) rate: String,
    pub(super) error_rate: String,
    pub(super) p50: String,
    pub(super) p95: String,
    pub(super) p99: String,
    /// Percentiles as chart heights, empty without requests.
    pub(super) heights: [String; 3],
}

/// The last hour's minutes, newest first, each there whether it had requests or not. `now` is in
/// seconds since the epoch; its minute is running and may miss the last seconds.
pub(super) fn minute_rows(rollups: &[Rollup], now: i64, minutes: u32) -> Vec<MinuteRow> {
    let by_minute: BTreeMap<i64, &Rollup> = rollups.iter().map(|r| (r.minute, r)).collect();
    let running = now.div_euclid(60);
    let row = |minute: i64| {
        let counts = Counts::of(by_minute.get(&minute).copied());
        let seconds = if minute == running {
            now.rem_euclid(60).unsigned_abs().max(RUNNING_SECONDS_MIN)
        } else {
            60
        };
        let latency = &counts.latency;
        let height = |percent| {
            let bound = Bound::of(latency, percent);
            bound.map_or_else(String::new, |bound| bound.height_ms().to_string())
        };
        MinuteRow {
            time: minute_text(minute),
            at: minute * 60,
            running: minute == running,
            requests: count_text(counts.requests),
            errors: count_text(counts.errors),
            rate: rate_text(counts.requests, seconds),
            error_rate: rate_text(counts.errors, seconds),
            p50: bound_text(latency, 50),
            p95: bound_text(latency, 95),
            p99: bound_text(latency, 99),
            heights: [height(50), height(95), height(99)],
        }
    };
    let first = running + 1 - i64::from(minutes);
    (first..=running).rev().map(row).collect()
}

#[cfg(test)]
mod tests;
