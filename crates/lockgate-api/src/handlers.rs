//! Thin handlers: wire in, one use case, wire out.

pub(crate) mod ai;
pub(crate) mod node;
pub(crate) mod objects;
pub(crate) mod services;

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use lockgate_diag::codes;
use lockgate_model::ServiceId;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// Time a client has to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Path segments of an object: project, stack, name.
pub(crate) type Segments = (String, String, String);

/// The identity in a path. Slashes inside a segment could make two names one, so only the last
/// segment may have them.
pub(crate) fn parse_id((project, stack, name): Segments) -> Result<ServiceId, Failure> {
    let id = ServiceId {
        project,
        stack,
        name,
    };
    match ServiceId::parse(&id.to_string()) {
        Some(parsed) if parsed == id => Ok(id),
        _ => Err(Failure::bad_request(
            "the path does not name `project/stack/name`",
        )),
    }
}

/// A JSON body. Its error names the place and never repeats the body, which may hold secrets.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let reading = bytes::Bytes::from_request(request, state);
        let body = match tokio::time::timeout(BODY_TIMEOUT, reading).await {
            Ok(Ok(body)) => body,
            Ok(Err(rejection)) => {
                let text = rejection.body_text();
                let code = codes::store::BAD_REQUEST;
                return Err(Failure::new(rejection.status(), code, text));
            }
            Err(_) => {
                return Err(Failure::new(
                    StatusCode::REQUEST_TIMEOUT,
                    codes::store::BAD_REQUEST,
                    "the body did not arrive in time",
                ));
            }
        };
        serde_json::from_slice(&body).map(Json).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => "has a field the API does not expect",
                _ => "is not JSON",
            };
            let (line, column) = (error.line(), error.column());
            Failure::bad_request(format!("the body {what} at line {line}, column {column}"))
        })
    }
}

/// A query string; its error names what is wrong with it.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(Failure::bad_request(rejection.body_text())),
        }
    }
}

/// JSON lines as they come.
pub(crate) fn json_lines(body: axum::body::Body) -> Response {
    let kind = HeaderValue::from_static("application/x-ndjson");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// One JSON line.
pub(crate) fn json_line<T: serde::Serialize>(value: &T) -> bytes::Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// The failure of a call about an object that is not there.
pub(crate) fn absent(kind: &str, name: &str) -> Failure {
    Failure::not_found(format!("the node has no {kind} `{name}`"))
}
