//! The node itself.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Asked, Json};
use crate::console::make_link;
use crate::failure::Failure;
use crate::router::{CallerHolder, Shared, Shutdown};
use crate::wire::{
    AuditView, ConsoleLinkView, GatewayView, NodeStatus, Problem, ShutdownBody, millis,
};

/// How the node is.
#[utoipa::path(get, path = "/v1/status", tag = "node",
    responses((status = 200, body = NodeStatus)))]
pub(crate) async fn status(State(shared): State<Arc<Shared>>) -> axum::Json<NodeStatus> {
    let (node, control) = (&shared.node, &shared.control);
    let spec = control.gateway_spec();
    let table = control.table_status();
    let refused = table.rejected.map(|rejected| rejected.diagnostics);
    let refusal = refused.into_iter().flatten().map(|found| found.message);
    axum::Json(NodeStatus {
        version: node.version.clone(),
        pid: node.pid,
        started: node.started.to_string(),
        addresses: node.addresses.iter().map(ToString::to_string).collect(),
        gateway_url: control.gateway_url().to_owned(),
        spec_version: spec.version,
        table_version: table.version,
        table_refusal: refusal.collect(),
        services: control.services().len() as u64,
        routes: spec.routes.len() as u64,
        ledger: control.ledger_health().into(),
    })
}

/// Shuts the node down; answers before it is down.
#[utoipa::path(post, path = "/v1/shutdown", tag = "node", request_body = ShutdownBody,
    responses((status = 202), (status = 400, body = Problem)))]
pub(crate) async fn shutdown(
    State(shared): State<Arc<Shared>>,
    Json(body): Json<ShutdownBody>,
) -> Result<StatusCode, Failure> {
    // A full queue means that a shutdown is under way, which is what was asked for.
    let _ = shared.node.shutdown.try_send(Shutdown {
        drain: Duration::from_millis(body.drain_ms),
        keep_services: body.keep_services,
    });
    Ok(StatusCode::ACCEPTED)
}

/// The spec published last, without secrets and hashes.
#[utoipa::path(get, path = "/v1/gateway", tag = "node",
    responses((status = 200, body = GatewayView)))]
pub(crate) async fn gateway(State(shared): State<Arc<Shared>>) -> axum::Json<GatewayView> {
    axum::Json(GatewayView::from(shared.control.gateway_spec().as_ref()))
}

/// Makes a link that opens the console in one browser. It is a secret until it is opened.
#[utoipa::path(post, path = "/v1/console/links", tag = "node",
    responses((status = 201, body = ConsoleLinkView), (status = 503, body = Problem)))]
pub(crate) async fn console_link(
    State(shared): State<Arc<Shared>>,
    CallerHolder(caller): CallerHolder,
) -> Result<(StatusCode, axum::Json<ConsoleLinkView>), Failure> {
    let link = make_link(&shared).await?;
    tracing::info!(actor = caller.actor, "a link to the console was made");
    let view = ConsoleLinkView {
        url: link.url.expose().clone(),
        expires_in_ms: millis(link.life),
    };
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "node",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> String {
    (shared.node.metrics)()
}

/// Rows of a page when the caller does not say.
const AUDIT_ROWS_DEFAULT: u32 = 50;
/// Most rows of a page.
const AUDIT_ROWS_MAX: u32 = 200;

/// Which page of the audit chain.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Rows below this number; the newest when absent.
    before: Option<u64>,
    /// At most this many, up to 200; 50 when absent.
    limit: Option<u32>,
}

/// Changes of the node's objects, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "node", params(AuditQuery),
    responses((status = 200, body = Vec<AuditView>), (status = 400, body = Problem)))]
pub(crate) async fn audit(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<AuditQuery>,
) -> Result<axum::Json<Vec<AuditView>>, Failure> {
    let limit = query
        .limit
        .unwrap_or(AUDIT_ROWS_DEFAULT)
        .min(AUDIT_ROWS_MAX);
    let rows = shared.control.find_audit(query.before, limit).await?;
    Ok(axum::Json(rows.into_iter().map(AuditView::from).collect()))
}
