//! Services.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use lockgate_diag::codes;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::{Asked, Json, Segments, json_line, json_lines, parse_id};
use crate::failure::Failure;
use crate::router::{CallerHolder, Shared};
use crate::wire::{LogLine, Problem, ServiceBody, ServiceEvent, ServiceView};

/// Progress lines kept for a slow reader; more are dropped, they are talk.
const PROGRESS_LINES: usize = 64;
/// Pause after which an empty line shows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often new output is looked for while it is followed.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);
/// Lines of output when the caller does not say.
const LINES_DEFAULT: usize = 100;
/// Most lines per instance at once.
const LINES_MAX: usize = 1000;

/// All services.
#[utoipa::path(get, path = "/v1/services", tag = "services",
    responses((status = 200, body = Vec<ServiceView>)))]
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> axum::Json<Vec<ServiceView>> {
    let services = shared.control.services().into_iter();
    axum::Json(services.map(ServiceView::from).collect())
}

/// Brings a service to a spec. The answer is JSON lines: progress, then `done` or `failed`.
#[utoipa::path(put, path = "/v1/services/{project}/{stack}/{name}", tag = "services",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    request_body = ServiceBody,
    responses(
        (status = 200, body = ServiceEvent, content_type = "application/x-ndjson"),
        (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn apply(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
    Json(body): Json<ServiceBody>,
) -> Result<Response, Failure> {
    let spec = body.into_model(parse_id(segments)?).map_err(|error| {
        let code = codes::store::BAD_OBJECT;
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, code, error.to_string())
    })?;
    let (progress, lines) = mpsc::channel(PROGRESS_LINES);
    let request_id = caller.request.clone();
    let rollout = Box::pin(async move {
        let outcome = shared.control.apply_service(caller, spec, progress).await;
        match outcome {
            Ok(status) => ServiceEvent::Done {
                service: status.into(),
            },
            Err(error) => {
                let failure = Failure::from(error);
                failure.log(&request_id);
                ServiceEvent::Failed {
                    problem: failure.problem(&request_id),
                }
            }
        }
    });
    let lines = stream::unfold(Some((rollout, lines)), |open| async move {
        let (mut rollout, mut lines) = open?;
        let event = tokio::select! {
            biased;
            Some(message) = lines.recv() => ServiceEvent::Progress { message },
            last = &mut rollout => {
                return Some((Ok::<_, Infallible>(json_line(&last)), None));
            }
            () = tokio::time::sleep(HEARTBEAT) => {
                return Some((Ok(Bytes::from_static(b"\n")), Some((rollout, lines))));
            }
        };
        Some((Ok(json_line(&event)), Some((rollout, lines))))
    });
    Ok(json_lines(Body::from_stream(lines)))
}

/// The state of a service.
#[utoipa::path(get, path = "/v1/services/{project}/{stack}/{name}", tag = "services",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = ServiceView), (status = 404, body = Problem)))]
pub(crate) async fn find(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
) -> Result<axum::Json<ServiceView>, Failure> {
    let id = parse_id(segments)?;
    let status = shared.control.find_service(&id);
    let status =
        status.ok_or_else(|| Failure::not_found(format!("the node has no service `{id}`")))?;
    Ok(axum::Json(status.into()))
}

/// Stops and forgets a service; one that is not there is fine.
#[utoipa::path(delete, path = "/v1/services/{project}/{stack}/{name}", tag = "services",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 409, body = Problem)))]
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    CallerHolder(caller): CallerHolder,
) -> Result<StatusCode, Failure> {
    let id = parse_id(segments)?;
    shared.control.remove_service(caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What to show of an output.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Last lines of each instance, at most 1,000; 100 when absent.
    lines: Option<usize>,
    /// Keep the answer open and send lines as they come.
    #[serde(default)]
    follow: bool,
}

/// The output of a service as JSON lines.
#[utoipa::path(get, path = "/v1/services/{project}/{stack}/{name}/logs", tag = "services",
    params(("project" = String, Path), ("stack" = String, Path), ("name" = String, Path),
        LogQuery),
    responses((status = 200, body = LogLine, content_type = "application/x-ndjson"),
        (status = 404, body = Problem)))]
pub(crate) async fn logs(
    State(shared): State<Arc<Shared>>,
    Path(segments): Path<Segments>,
    Asked(query): Asked<LogQuery>,
) -> Result<Response, Failure> {
    let lines = query.lines.unwrap_or(LINES_DEFAULT).min(LINES_MAX);
    let mut reader = shared.control.open_logs(parse_id(segments)?, lines)?;
    let first = render_lines(reader.read().await);
    if !query.follow {
        return Ok(json_lines(Body::from(first)));
    }
    let chunks = stream::unfold((reader, Some(first)), |(mut reader, first)| async move {
        if let Some(first) = first {
            return Some((Ok::<_, Infallible>(first), (reader, None)));
        }
        let mut quiet = Duration::ZERO;
        loop {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
            let lines = render_lines(reader.read().await);
            quiet += FOLLOW_INTERVAL;
            if !lines.is_empty() {
                return Some((Ok(lines), (reader, None)));
            }
            if quiet >= HEARTBEAT {
                return Some((Ok(Bytes::from_static(b"\n")), (reader, None)));
            }
        }
    });
    Ok(json_lines(Body::from_stream(chunks)))
}

fn render_lines(lines: Vec<lockgate_control::ServiceLogLine>) -> Bytes {
    let lines = lines
        .into_iter()
        .map(|line| json_line(&LogLine::from(line)));
    lines.collect::<Vec<Bytes>>().concat().into()
}
