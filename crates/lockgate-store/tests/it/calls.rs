//! What the tests of the ledger write of a call.

use lockgate_model::Timestamp;
use lockgate_model::ai::{CallId, CallStart, Operation};

/// The first try of a request.
pub(crate) fn id(request: &str) -> CallId {
    CallId {
        request: request.into(),
        attempt: 1,
    }
}

/// A chat without a stream, nobody's, without a price.
pub(crate) fn start(at: Timestamp) -> CallStart {
    CallStart {
        at,
        route: "p/s/r".into(),
        consumer: None,
        api_key: None,
        alias: "fast".into(),
        vendor: "p/s/v".into(),
        vendor_model: "m-1".into(),
        operation: Operation::Chat,
        stream: false,
        input_estimate: 11,
        price: None,
    }
}
