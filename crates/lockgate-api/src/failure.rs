//! The one place where an error becomes a response.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use lockgate_control::ControlError;
use lockgate_diag::{Code, Diagnostic, codes};

use crate::wire::Problem;

/// Why a request failed: what the caller is told, and what only the node's log is told.
///
/// As a response it is an empty shell; the router's outermost layer, which knows the request id,
/// renders and logs it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) external: Box<Diagnostic>,
    pub(crate) internal: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self {
            status,
            external: Box::new(Diagnostic::error(code, message)),
            internal: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, codes::store::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, codes::store::NOT_FOUND, message)
    }

    /// Renders the problem document of the failure (RFC 9457).
    pub(crate) fn problem(&self, request_id: &str) -> Problem {
        let code = self.external.code.as_str();
        Problem {
            kind: format!("urn:lockgate:{code}"),
            title: codes::find(code).map_or("error", |info| info.title).into(),
            status: self.status.as_u16(),
            detail: self.external.message.clone(),
            code: code.into(),
            hints: self.external.hints.clone(),
            causes: self.external.causes.clone(),
            request_id: request_id.into(),
        }
    }

    /// Tells the node's log what the caller is not told.
    pub(crate) fn log(&self, request_id: &str) {
        if let Some(cause) = &self.internal {
            tracing::error!(request_id, cause, message = %self.external.message, "request failed");
        }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let (status, diagnostic) = match error {
            ControlError::Invalid(found) => (StatusCode::UNPROCESSABLE_ENTITY, found),
            ControlError::NotFound(found) => (StatusCode::NOT_FOUND, found),
            ControlError::Conflict(found) => (StatusCode::CONFLICT, found),
            // The request was fine and so is the node: what it depends on failed (RFC 4918 §11.4).
            ControlError::Rollout(found) => (StatusCode::FAILED_DEPENDENCY, found),
            ControlError::Table(found) => (StatusCode::UNPROCESSABLE_ENTITY, found),
            ControlError::Store(_) => return Self::internal(&error, codes::store::STORE_FAILED),
            ControlError::Panicked => return Self::internal(&error, codes::store::NODE_BUG),
            ControlError::Closing => {
                let message = error.to_string();
                let code = codes::store::NODE_CLOSING;
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
            }
        };
        Self {
            status,
            external: diagnostic,
            internal: None,
        }
    }
}

impl Failure {
    fn internal(error: &ControlError, code: Code) -> Self {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let mut failure = Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, error.to_string());
        let hint = "run `lockgate node logs` and look for the request id";
        failure.external.hints.push(hint.into());
        failure.internal = Some(causes.join(": "));
        failure
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
