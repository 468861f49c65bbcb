//! What one request leaves behind.

use std::time::Duration;

use crate::time::Timestamp;

/// The trace of one finished request. Emitted once, on a bounded queue.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRecord {
    /// Request id, as sent to client and upstream.
    pub id: String,
    /// When the head was complete.
    pub at: Timestamp,
    /// Version of the table that served it.
    pub table_version: u64,
    /// Route, if one matched.
    pub route: Option<String>,
    /// Consumer, if known.
    pub consumer: Option<String>,
    /// Id of the API key, if known.
    pub api_key: Option<String>,
    /// Method.
    pub method: String,
    /// Host of the request.
    pub host: String,
    /// Normal path, without the query.
    pub path: String,
    /// Status sent; 499 when the client left first.
    pub status: u16,
    /// Low-cardinality reason when the gateway made or cut the answer.
    pub failure: Option<&'static str>,
    /// Upstream that was asked.
    pub upstream: Option<String>,
    /// Tries against upstreams.
    pub attempts: u32,
    /// Body bytes from the client.
    pub request_bytes: u64,
    /// Body bytes to the client.
    pub response_bytes: u64,
    /// Head complete to response head sent.
    pub first_byte: Duration,
    /// Head complete to the end.
    pub total: Duration,
    /// Address of the client.
    pub client: String,
}
