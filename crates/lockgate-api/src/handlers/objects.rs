//! Routes, consumers and API keys.

use std::sync::Arc;

use axum::extract::{Path, State};
use http::StatusCode;
use lockgate_control::ApiKeyRequest;
use lockgate_diag::{Secret, codes};
use lockgate_model::gateway::{ApiKeySpec, ConsumerSpec};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Asked, Json, Segments, absent, parse_id};
use crate::failure::Failure;
use crate::router::{CallerHolder, Shared};
use crate::wire::{
    ApiKeyBody, ApiKeyView, ConsumerBody, ConsumerView, Problem, RouteBody, RouteView, TrafficView,
};

/// Publishes a route; answers once a table that holds it serves.
#[utoipa::path(put, path = "/v1/routes/{project}/{stack}/{name}", tag = "routes",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    request_body = RouteBody,
    responses((status = 200, body = RouteView), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn apply_route(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
    Json(body): Json<RouteBody>,
) -> Result<axum::Json<RouteView>, Failure> {
    let name = parse_id(segments)?.to_string();
    let route = body.into_model(name).map_err(|error| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Failure::new(status, codes::store::BAD_BACKEND, error.to_string())
    })?;
    let status = shared.control.apply_route(caller, route).await?;
    Ok(axum::Json(status.into()))
}

/// The route of this name.
#[utoipa::path(get, path = "/v1/routes/{project}/{stack}/{name}", tag = "routes",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = RouteView), (status = 404, body = Problem)))]
pub(crate) async fn find_route(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
) -> Result<axum::Json<RouteView>, Failure> {
    let name = parse_id(segments)?.to_string();
    let found = shared.control.find_route(&name);
    let status = found.ok_or_else(|| absent("route", &name))?;
    Ok(axum::Json(status.into()))
}

/// Withdraws a route; one that is not there is fine.
#[utoipa::path(delete, path = "/v1/routes/{project}/{stack}/{name}", tag = "routes",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 204)))]
pub(crate) async fn remove_route(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
) -> Result<StatusCode, Failure> {
    let name = parse_id(segments)?.to_string();
    shared.control.remove_route(caller, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Minutes when the caller does not say: one hour.
const MINUTES_DEFAULT: u32 = 60;
/// Most minutes of one answer: one day.
const MINUTES_MAX: u32 = 24 * 60;

/// How far back.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TrafficQuery {
    /// Minutes before now, up to 1,440; 60 when absent.
    minutes: Option<u32>,
}

/// Request counts of a route per minute.
#[utoipa::path(get, path = "/v1/routes/{project}/{stack}/{name}/traffic", tag = "routes",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path),
        TrafficQuery),
    responses((status = 200, body = TrafficView), (status = 400, body = Problem)))]
pub(crate) async fn traffic(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    Asked(query): Asked<TrafficQuery>,
) -> Result<axum::Json<TrafficView>, Failure> {
    let name = parse_id(segments)?.to_string();
    let minutes = query.minutes.unwrap_or(MINUTES_DEFAULT).min(MINUTES_MAX);
    let rollups = shared.control.find_traffic(&name, minutes).await?;
    Ok(axum::Json(rollups.into()))
}

/// Makes a consumer known.
#[utoipa::path(put, path = "/v1/consumers/{project}/{stack}/{name}", tag = "consumers",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    request_body = ConsumerBody,
    responses((status = 200, body = ConsumerView), (status = 422, body = Problem)))]
pub(crate) async fn apply_consumer(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
    Json(ConsumerBody {}): Json<ConsumerBody>,
) -> Result<axum::Json<ConsumerView>, Failure> {
    let name = parse_id(segments)?.to_string();
    let consumer = ConsumerSpec { name: name.clone() };
    shared.control.apply_consumer(caller, consumer).await?;
    Ok(axum::Json(ConsumerView { name }))
}

/// The consumer of this name.
#[utoipa::path(get, path = "/v1/consumers/{project}/{stack}/{name}", tag = "consumers",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = ConsumerView), (status = 404, body = Problem)))]
pub(crate) async fn find_consumer(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
) -> Result<axum::Json<ConsumerView>, Failure> {
    let name = parse_id(segments)?.to_string();
    let found = shared.control.find_consumer(&name);
    let ConsumerSpec { name } = found.ok_or_else(|| absent("consumer", &name))?;
    Ok(axum::Json(ConsumerView { name }))
}

/// Forgets a consumer; refused while a key or a route names it.
#[utoipa::path(delete, path = "/v1/consumers/{project}/{stack}/{name}", tag = "consumers",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 409, body = Problem)))]
pub(crate) async fn remove_consumer(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
) -> Result<StatusCode, Failure> {
    let name = parse_id(segments)?.to_string();
    shared.control.remove_consumer(caller, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a key valid; the node keeps only its keyed hash.
#[utoipa::path(put, path = "/v1/api-keys/{id}", tag = "api-keys",
    params(("id" = String, Path)), request_body = ApiKeyBody,
    responses((status = 200, body = ApiKeyView), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn apply_api_key(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    CallerHolder(caller): CallerHolder,
    Json(body): Json<ApiKeyBody>,
) -> Result<axum::Json<ApiKeyView>, Failure> {
    if ApiKeySpec::split(&body.key).is_none_or(|(public, _)| public != id) {
        let message = "the text is not an API key with the id of the path";
        return Err(Failure::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            codes::store::BAD_API_KEY,
            message,
        ));
    }
    let request = ApiKeyRequest {
        consumer: body.consumer,
        key: Secret::new(body.key),
        enabled: body.enabled,
    };
    let key = shared.control.apply_api_key(caller, request).await?;
    Ok(axum::Json(ApiKeyView::from(&key)))
}

/// The key of this public id, without its hash.
#[utoipa::path(get, path = "/v1/api-keys/{id}", tag = "api-keys",
    params(("id" = String, Path)),
    responses((status = 200, body = ApiKeyView), (status = 404, body = Problem)))]
pub(crate) async fn find_api_key(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<axum::Json<ApiKeyView>, Failure> {
    let found = shared.control.find_api_key(&id);
    let key = found.ok_or_else(|| absent("API key", &id))?;
    Ok(axum::Json(ApiKeyView::from(&key)))
}

/// Makes a key invalid for good; one that is not there is fine.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "api-keys",
    params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn remove_api_key(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    CallerHolder(caller): CallerHolder,
) -> Result<StatusCode, Failure> {
    shared.control.remove_api_key(caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
