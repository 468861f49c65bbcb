//! AI vendors, models, and the calls made to them.

use std::sync::Arc;

use axum::extract::{Path, State};
use http::StatusCode;
use lockgate_diag::codes;
use lockgate_model::Timestamp;
use lockgate_model::ai::{CallGroup, CallId, CallPlace};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Asked, Json, Segments, absent, parse_id};
use crate::failure::Failure;
use crate::router::{CallerHolder, Shared};
use crate::wire::{
    CallView, ModelBody, ModelView, Problem, TotalView, TotalsView, UsageView, VendorBody,
    VendorView,
};

/// Makes a vendor known; its key is sealed at rest and never shown.
#[utoipa::path(put, path = "/v1/ai/vendors/{project}/{stack}/{name}", tag = "ai",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    request_body = VendorBody,
    responses((status = 200, body = VendorView), (status = 422, body = Problem)))]
pub(crate) async fn apply_vendor(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
    Json(body): Json<VendorBody>,
) -> Result<axum::Json<VendorView>, Failure> {
    let name = parse_id(segments)?.to_string();
    let vendor = body.into_model(name).map_err(|error| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Failure::new(status, codes::ai::BAD_BASE_URL, error.to_string())
    })?;
    let view = VendorView::from(&vendor);
    shared.control.apply_vendor(caller, vendor).await?;
    Ok(axum::Json(view))
}

/// The vendor of this name, without its key.
#[utoipa::path(get, path = "/v1/ai/vendors/{project}/{stack}/{name}", tag = "ai",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = VendorView), (status = 404, body = Problem)))]
pub(crate) async fn find_vendor(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
) -> Result<axum::Json<VendorView>, Failure> {
    let name = parse_id(segments)?.to_string();
    let found = shared.control.find_vendor(&name);
    let vendor = found.ok_or_else(|| absent("AI vendor", &name))?;
    Ok(axum::Json(VendorView::from(&vendor)))
}

/// Forgets a vendor; refused while a model names it.
#[utoipa::path(delete, path = "/v1/ai/vendors/{project}/{stack}/{name}", tag = "ai",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 409, body = Problem)))]
pub(crate) async fn remove_vendor(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
) -> Result<StatusCode, Failure> {
    let name = parse_id(segments)?.to_string();
    shared.control.remove_vendor(caller, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a model known.
#[utoipa::path(put, path = "/v1/ai/models/{project}/{stack}/{name}", tag = "ai",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    request_body = ModelBody,
    responses((status = 200, body = ModelView), (status = 422, body = Problem)))]
pub(crate) async fn apply_model(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
    Json(body): Json<ModelBody>,
) -> Result<axum::Json<ModelView>, Failure> {
    let model = body.into_model(parse_id(segments)?.to_string());
    let view = ModelView::from(&model);
    shared.control.apply_model(caller, model).await?;
    Ok(axum::Json(view))
}

/// The model of this name.
#[utoipa::path(get, path = "/v1/ai/models/{project}/{stack}/{name}", tag = "ai",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = ModelView), (status = 404, body = Problem)))]
pub(crate) async fn find_model(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
) -> Result<axum::Json<ModelView>, Failure> {
    let name = parse_id(segments)?.to_string();
    let found = shared.control.find_model(&name);
    let model = found.ok_or_else(|| absent("AI model", &name))?;
    Ok(axum::Json(ModelView::from(&model)))
}

/// Forgets a model; refused while a route offers it.
#[utoipa::path(delete, path = "/v1/ai/models/{project}/{stack}/{name}", tag = "ai",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 409, body = Problem)))]
pub(crate) async fn remove_model(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
) -> Result<StatusCode, Failure> {
    let name = parse_id(segments)?.to_string();
    shared.control.remove_model(caller, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Minutes of calls in an answer unless asked otherwise: one day.
const MINUTES_DEFAULT: u32 = 24 * 60;
/// Most minutes: a year.
const MINUTES_MAX: u32 = 366 * 24 * 60;
/// Calls in an answer unless asked otherwise.
const LIMIT_DEFAULT: u32 = 1000;
/// Most calls in one answer.
const LIMIT_MAX: u32 = 10_000;

fn minutes(asked: Option<u32>) -> u32 {
    asked.unwrap_or(MINUTES_DEFAULT).min(MINUTES_MAX)
}

/// Which calls.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// Minutes before now, up to a year; a day when absent.
    minutes: Option<u32>,
    /// Most calls, up to 10,000; 1,000 when absent.
    limit: Option<u32>,
    /// Continues after an answer: what it named as `next`.
    after: Option<String>,
}

/// Which sums.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TotalsQuery {
    /// Minutes before now, up to a year; a day when absent.
    minutes: Option<u32>,
    /// What to add up by, commas between: `model`, `vendor`, `vendor-model`, `consumer`, `key`,
    /// `route`, `operation`, `status`, `day`; nothing when absent.
    by: Option<String>,
}

/// Calls to AI vendors, added up, up to this moment.
#[utoipa::path(get, path = "/v1/ai/totals", tag = "ai", params(TotalsQuery),
    responses((status = 200, body = TotalsView), (status = 400, body = Problem)))]
pub(crate) async fn totals(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<TotalsQuery>,
) -> Result<axum::Json<TotalsView>, Failure> {
    let minutes = minutes(query.minutes);
    let words = query.by.as_deref().unwrap_or_default().split(',');
    let by: Vec<CallGroup> = words
        .filter(|word| !word.is_empty())
        .map(|word| CallGroup::parse(word).ok_or_else(|| unknown_group(word)))
        .collect::<Result<_, _>>()?;
    if by.len() > CallGroup::ALL.len() {
        return Err(unknown_group("more groups than there are"));
    }
    let totals = shared.control.sum_calls(minutes, &by).await?;
    let health = shared.control.ledger_health();
    Ok(axum::Json(TotalsView {
        by: by.iter().map(|group| group.as_str().to_owned()).collect(),
        totals: totals.iter().map(TotalView::from).collect(),
        damaged_files: health.damaged,
        behind: health.behind,
    }))
}

fn unknown_group(word: &str) -> Failure {
    let known = CallGroup::ALL.map(CallGroup::as_str).join("`, `");
    Failure::bad_request(format!(
        "calls cannot be added up by `{word}`, expected one of `{known}`"
    ))
}

/// Calls to AI vendors, newest first, up to this moment.
#[utoipa::path(get, path = "/v1/ai/usage", tag = "ai", params(UsageQuery),
    responses((status = 200, body = UsageView), (status = 400, body = Problem)))]
pub(crate) async fn usage(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<UsageQuery>,
) -> Result<axum::Json<UsageView>, Failure> {
    let minutes = minutes(query.minutes);
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let after = query.after.as_deref().map(parse_place).transpose()?;
    let control = &shared.control;
    let found = control.find_calls(minutes, after.as_ref(), limit + 1).await;
    let mut rows = found?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| more);
    let health = control.ledger_health();
    Ok(axum::Json(UsageView {
        calls: rows.iter().map(CallView::from).collect(),
        more,
        next: last.map(|row| {
            let (at, id) = (row.start.at.0, &row.id);
            format!("{at}-{}-{}", id.attempt, id.request)
        }),
        damaged_files: health.damaged,
        behind: health.behind,
    }))
}

/// The place that an answer named as `next`.
fn parse_place(text: &str) -> Result<CallPlace, Failure> {
    let mut parts = text.splitn(3, '-');
    let mut part = || parts.next().unwrap_or_default();
    let (at, attempt, request) = (part().parse(), part().parse(), part());
    let (Ok(at), Ok(attempt)) = (at, attempt) else {
        let text = "`after` is not what an answer named as `next`";
        return Err(Failure::new(
            StatusCode::BAD_REQUEST,
            codes::store::BAD_REQUEST,
            text,
        ));
    };
    Ok(CallPlace {
        at: Timestamp(at),
        id: CallId {
            request: request.into(),
            attempt,
        },
    })
}
