//! What the tests of the ledger write of a call.

use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{CallId, CallStart, CallTerms, Operation};

/// The first try of a request.
pub(crate) fn id(request: &str) -> CallId {
    CallId {
        request: request.into(),
        attempt: 1,
    }
}

/// What a chat has in common with others: nobody's, without a price.
pub(crate) fn terms() -> CallTerms {
    CallTerms {
        route: "p/s/r".into(),
        consumer: None,
        api_key: None,
        alias: "fast".into(),
        vendor: "p/s/v".into(),
        vendor_model: "m-1".into(),
        operation: Operation::Chat,
        price: None,
    }
}

/// A call without a stream.
pub(crate) fn start(at: Timestamp, terms: CallTerms) -> CallStart {
    CallStart {
        at,
        terms: Arc::new(terms),
        stream: false,
        input_estimate: 11,
    }
}
