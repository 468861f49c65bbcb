//! How a failure is told (RFC 9457, `application/problem+json`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:lockgate:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code stands for.
    pub title: String,
    /// The response's status.
    pub status: u16,
    /// What was found and what was expected.
    pub detail: String,
    /// Stable code; `lockgate explain CODE` prints its page.
    pub code: String,
    /// Next steps.
    pub hints: Vec<String>,
    /// What led to it, the first cause first.
    pub causes: Vec<String>,
    /// Names the request in the node's log and audit chain.
    pub request_id: String,
}
