//! Bodies in JSON, as releases before the binary ones wrote them: read, never written.

use std::borrow::Cow;
use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallEnd, CallId, CallStart, CallStatus, CallTerms, LedgerEntry, Operation, Price,
};
use serde::Deserialize;

use super::counts::{rates, usage};

#[derive(Deserialize)]
#[serde(tag = "k")]
enum Wire<'a> {
    #[serde(rename = "s")]
    Started {
        #[serde(borrow)]
        r: Cow<'a, str>,
        a: u32,
        at: i64,
        #[serde(borrow)]
        route: Cow<'a, str>,
        #[serde(borrow)]
        consumer: Option<Cow<'a, str>>,
        #[serde(borrow)]
        key: Option<Cow<'a, str>>,
        #[serde(borrow)]
        alias: Cow<'a, str>,
        #[serde(borrow)]
        vendor: Cow<'a, str>,
        #[serde(borrow)]
        model: Cow<'a, str>,
        #[serde(borrow)]
        op: Cow<'a, str>,
        stream: bool,
        est: u64,
        #[serde(borrow)]
        price: Option<(Cow<'a, str>, Cow<'a, str>, [u64; 7])>,
    },
    #[serde(rename = "p")]
    Progress {
        #[serde(borrow)]
        r: Cow<'a, str>,
        a: u32,
        out: u64,
    },
    #[serde(rename = "e")]
    Settled {
        #[serde(borrow)]
        r: Cow<'a, str>,
        a: u32,
        at: i64,
        #[serde(borrow)]
        status: Cow<'a, str>,
        http: Option<u16>,
        usage: [u64; 7],
        est: bool,
    },
}

fn call(request: &str, attempt: u32) -> CallId {
    CallId {
        request: request.into(),
        attempt,
    }
}

impl Wire<'_> {
    fn into_model(self) -> Option<LedgerEntry> {
        let shared = |text: Cow<'_, str>| Arc::<str>::from(&*text);
        Some(match self {
            Self::Started {
                r,
                a,
                at,
                route,
                consumer,
                key,
                alias,
                vendor,
                model,
                op,
                stream,
                est,
                price,
            } => {
                let terms = CallTerms {
                    route: shared(route),
                    consumer: consumer.map(shared),
                    api_key: key.map(shared),
                    alias: shared(alias),
                    vendor: shared(vendor),
                    vendor_model: shared(model),
                    operation: Operation::parse(&op)?,
                    price: price.map(|(version, currency, per_token)| Price {
                        version: shared(version),
                        currency: shared(currency),
                        rates: rates(per_token),
                    }),
                };
                let start = CallStart {
                    at: Timestamp(at),
                    terms: Arc::new(terms),
                    stream,
                    input_estimate: est,
                };
                LedgerEntry::Started(call(&r, a), start)
            }
            Self::Progress { r, a, out } => LedgerEntry::Progress(call(&r, a), out),
            Self::Settled {
                r,
                a,
                at,
                status,
                http,
                usage: tokens,
                est,
            } => {
                let end = CallEnd {
                    at: Timestamp(at),
                    status: CallStatus::parse(&status)?,
                    http_status: http,
                    usage: usage(tokens),
                    estimated: est,
                };
                LedgerEntry::Settled(call(&r, a), end)
            }
        })
    }
}

/// The entry of a body.
pub(super) fn decode(body: &[u8]) -> Option<LedgerEntry> {
    serde_json::from_slice::<Wire<'_>>(body).ok()?.into_model()
}
