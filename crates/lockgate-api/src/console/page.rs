//! The page as HTML: what is asked of the node, and the templates it goes into.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::response::{Html, IntoResponse as _, Response};
use http::StatusCode;
use lockgate_control::Rollup;
use lockgate_model::service::{ServicePhase, ServiceStatus};

use super::assets::{ADDRESSES, Addresses};
use super::figures::{Counts, bound_text, count_text, moment_text, rate_text, share_text};
use super::models::{BY_MODEL, ModelRow};
use super::paging::{Paging, Part, slice};
use super::view::{MinuteRow, RouteRow, ServiceRow, minute_rows};
use crate::failure::Failure;
use crate::router::Shared;

/// What the charts cover, minutes.
const MINUTES: u32 = 60;

/// The whole page.
#[derive(Template)]
#[template(path = "console.html")]
struct Overview {
    assets: &'static Addresses,
    /// This page's own address, for its refresh.
    address: String,
    version: String,
    started: String,
    gateway_url: String,
    table: u64,
    refusal: Vec<String>,
    tiles: Tiles,
    services: Part<ServiceRow>,
    routes: Part<RouteRow>,
    models: Part<ModelRow>,
    minutes: Vec<MinuteRow>,
    /// Requests of the hour that no route took; `None` when there were none.
    unmatched: Option<String>,
    now: String,
    made_in: String,
}

/// The answer to "is anything wrong now?".
struct Tiles {
    healthy: usize,
    services: usize,
    routes: usize,
    requests: String,
    rate: String,
    errors: String,
    error_share: String,
    has_errors: bool,
    p50: String,
    p95: String,
    p99: String,
}

impl Tiles {
    fn of(services: &[ServiceStatus], routes: usize, hour: &[Rollup], now: i64) -> Self {
        let counts = Counts::of(hour);
        let healthy = services.iter().filter(|s| s.phase == ServicePhase::Healthy);
        Self {
            healthy: healthy.count(),
            services: services.len(),
            routes,
            requests: count_text(counts.requests),
            rate: recent_rate(hour, now),
            errors: count_text(counts.errors),
            error_share: share_text(counts.errors, counts.requests),
            has_errors: counts.errors > 0,
            p50: bound_text(&counts.latency, 50),
            p95: bound_text(&counts.latency, 95),
            p99: bound_text(&counts.latency, 99),
        }
    }
}

/// Asks the node and writes the page: three statements, whatever the node's size.
pub(super) async fn overview(shared: &Shared, paging: Paging) -> Result<Response, Failure> {
    let (node, control) = (&shared.node, &shared.control);
    let begun = node.clock.monotonic();
    let now = node.clock.now();
    let services = control.services();
    let spec = control.gateway_spec();
    let table = control.table_status();
    let refused = table.rejected.map(|rejected| rejected.diagnostics);
    let hour = control.find_traffic_by_minute(MINUTES).await?;
    let shown = slice(&spec.routes, paging.routes);
    let mut names: Vec<String> = shown.iter().map(|route| route.name.clone()).collect();
    names.push(String::new());
    let traffic = control.find_traffic_by_route(&names, MINUTES).await?;
    let traffic: BTreeMap<&str, _> = traffic.iter().map(|r| (r.route.as_str(), r)).collect();
    let sums = control.sum_calls(MINUTES, &BY_MODEL).await?;

    let route_row = |route| RouteRow::new(route, &traffic);
    let of_services = |services| Paging { services, ..paging };
    let of_routes = |routes| Paging { routes, ..paging };
    let of_models = |models| Paging { models, ..paging };
    let page = Overview {
        assets: &ADDRESSES,
        address: paging.address(),
        version: node.version.clone(),
        started: moment_text(node.started),
        gateway_url: control.gateway_url().to_owned(),
        table: table.version,
        refusal: refused.into_iter().flatten().map(|d| d.message).collect(),
        tiles: Tiles::of(&services, spec.routes.len(), &hour, now.as_secs()),
        services: Part::of(&services, paging.services, ServiceRow::from, of_services),
        routes: Part::of(&spec.routes, paging.routes, route_row, of_routes),
        models: Part::of(&sums, paging.models, ModelRow::from, of_models),
        minutes: minute_rows(&hour, now.as_secs(), MINUTES),
        unmatched: traffic.get("").map(|rollup| count_text(rollup.requests)),
        now: moment_text(now),
        made_in: took_text(node.clock.monotonic().saturating_sub(begun)),
    };
    render(StatusCode::OK, &page)
}

/// The rate over the running minute and the one before: recent, and steady at a minute's turn.
fn recent_rate(hour: &[Rollup], now: i64) -> String {
    let from = now.div_euclid(60) - 1;
    let recent = Counts::of(hour.iter().filter(|rollup| rollup.minute >= from));
    rate_text(recent.requests, 60 + now.rem_euclid(60).unsigned_abs())
}

fn took_text(took: Duration) -> String {
    let tenths = took.as_micros() / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

/// Why the page is not shown, and how it is opened.
#[derive(Template)]
#[template(path = "locked.html")]
struct Locked {
    assets: &'static Addresses,
    reason: &'static str,
    /// The listener takes the node's key.
    takes_key: bool,
}

/// The 403 page.
pub(super) fn locked(reason: &'static str, takes_key: bool) -> Result<Response, Failure> {
    let page = Locked {
        assets: &ADDRESSES,
        reason,
        takes_key,
    };
    render(StatusCode::FORBIDDEN, &page)
}

/// A failure as a page.
#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    assets: &'static Addresses,
    status: u16,
    message: String,
    hints: Vec<String>,
    code: &'static str,
    request_id: String,
}

/// The page of a failure; its cause is in the node's log under `request_id`.
pub(super) fn problem(failure: &Failure, request_id: &str) -> Response {
    let page = ProblemPage {
        assets: &ADDRESSES,
        status: failure.status.as_u16(),
        message: failure.external.message.clone(),
        hints: failure.external.hints.clone(),
        code: failure.external.code.as_str(),
        request_id: request_id.to_owned(),
    };
    render(failure.status, &page).unwrap_or_else(|failure| failure.status.into_response())
}

fn render(status: StatusCode, page: &impl Template) -> Result<Response, Failure> {
    match page.render() {
        Ok(text) => Ok((status, Html(text)).into_response()),
        Err(error) => {
            let code = lockgate_diag::codes::store::NODE_BUG;
            let message = "the page could not be written";
            let mut failure = Failure::new(StatusCode::INTERNAL_SERVER_ERROR, code, message);
            failure.internal = Some(error.to_string());
            Err(failure)
        }
    }
}
