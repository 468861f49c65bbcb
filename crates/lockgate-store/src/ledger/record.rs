//! Entries as bytes: a header of 20 bytes, little-endian, and JSON.
//!
//! `length u32 · number u64 · checksum [8] · body`. The checksum is a shortened BLAKE3 of number
//! and body. A length of zero ends a segment.

use std::borrow::Cow;
use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallEnd, CallId, CallStart, CallStatus, LedgerEntry, Operation, Price, Rates, Usage,
};
use serde::{Deserialize, Serialize};

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 20;
/// Longest entry; names are far shorter.
pub(crate) const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Longest end of a call: every number at its largest, the longest status, a request id of ours.
pub(crate) const SETTLED_BYTES_MAX: u64 = 512;

/// The stored form. Names are short because every call is written twice; old ones stay readable.
#[derive(Serialize, Deserialize)]
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

pub(crate) fn counts(usage: &Usage) -> [u64; 7] {
    [
        usage.input,
        usage.cache_read,
        usage.cache_write,
        usage.input_audio,
        usage.output,
        usage.reasoning,
        usage.output_audio,
    ]
}

pub(crate) fn usage(counts: [u64; 7]) -> Usage {
    let [
        input,
        cache_read,
        cache_write,
        input_audio,
        output,
        reasoning,
        output_audio,
    ] = counts;
    Usage {
        input,
        cache_read,
        cache_write,
        input_audio,
        output,
        reasoning,
        output_audio,
    }
}

pub(crate) fn prices(rates: &Rates) -> [u64; 7] {
    [
        rates.input,
        rates.cache_read,
        rates.cache_write,
        rates.input_audio,
        rates.output,
        rates.reasoning,
        rates.output_audio,
    ]
}

pub(crate) fn rates(prices: [u64; 7]) -> Rates {
    let [
        input,
        cache_read,
        cache_write,
        input_audio,
        output,
        reasoning,
        output_audio,
    ] = prices;
    Rates {
        input,
        cache_read,
        cache_write,
        input_audio,
        output,
        reasoning,
        output_audio,
    }
}

impl<'a> From<&'a LedgerEntry> for Wire<'a> {
    fn from(entry: &'a LedgerEntry) -> Self {
        match entry {
            LedgerEntry::Started(id, start) => Self::Started {
                r: Cow::Borrowed(&id.request),
                a: id.attempt,
                at: start.at.0,
                route: Cow::Borrowed(&start.route),
                consumer: start.consumer.as_deref().map(Cow::Borrowed),
                key: start.api_key.as_deref().map(Cow::Borrowed),
                alias: Cow::Borrowed(&start.alias),
                vendor: Cow::Borrowed(&start.vendor),
                model: Cow::Borrowed(&start.vendor_model),
                op: start.operation.as_str().into(),
                stream: start.stream,
                est: start.input_estimate,
                price: start.price.as_ref().map(|p| {
                    let names = (Cow::Borrowed(&*p.version), Cow::Borrowed(&*p.currency));
                    (names.0, names.1, prices(&p.rates))
                }),
            },
            LedgerEntry::Progress(id, out) => Self::Progress {
                r: Cow::Borrowed(&id.request),
                a: id.attempt,
                out: *out,
            },
            LedgerEntry::Settled(id, end) => Self::Settled {
                r: Cow::Borrowed(&id.request),
                a: id.attempt,
                at: end.at.0,
                status: end.status.as_str().into(),
                http: end.http_status,
                usage: counts(&end.usage),
                est: end.estimated,
            },
        }
    }
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
                let start = CallStart {
                    at: Timestamp(at),
                    route: shared(route),
                    consumer: consumer.map(shared),
                    api_key: key.map(shared),
                    alias: shared(alias),
                    vendor: shared(vendor),
                    vendor_model: shared(model),
                    operation: Operation::parse(&op)?,
                    stream,
                    input_estimate: est,
                    price: price.map(|(version, currency, per_token)| Price {
                        version: shared(version),
                        currency: shared(currency),
                        rates: rates(per_token),
                    }),
                };
                LedgerEntry::Started(call(&r, a), Box::new(start))
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

/// A frame that lacks number and checksum.
pub(crate) fn encode(entry: &LedgerEntry) -> Vec<u8> {
    let mut frame = Vec::with_capacity(512);
    frame.resize(HEADER_BYTES, 0);
    // Writing to a vector cannot fail, and every key is text.
    let _ = serde_json::to_writer(&mut frame, &Wire::from(entry));
    frame
}

/// Gives a frame its number.
pub(crate) fn seal(frame: &mut [u8], number: u64) {
    // Longer frames are refused, so the length fits.
    let length = u32::try_from(frame.len() - HEADER_BYTES).unwrap_or(0);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..12].copy_from_slice(&number.to_le_bytes());
    let sum = checksum(number, &frame[HEADER_BYTES..]);
    frame[12..HEADER_BYTES].copy_from_slice(&sum);
}

fn checksum(number: u64, body: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(body);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    sum
}

/// The frame that `bytes` begin with: its size, number and body. `None` at the end, before a frame
/// that is not whole yet, and before damage.
pub(crate) fn frame(bytes: &[u8]) -> Option<(usize, u64, &[u8])> {
    let header = bytes.get(..HEADER_BYTES)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    if length == 0 || length > FRAME_BYTES_MAX {
        return None;
    }
    let number = u64::from_le_bytes(header[4..12].try_into().ok()?);
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
    (checksum(number, body) == header[12..]).then_some((HEADER_BYTES + length, number, body))
}

/// The number that the header of a frame at the start of `bytes` tells, whole or not.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    let number = bytes.get(4..12)?;
    Some(u64::from_le_bytes(number.try_into().ok()?))
}

/// The entry of a body.
pub(crate) fn decode(body: &[u8]) -> Option<LedgerEntry> {
    serde_json::from_slice::<Wire<'_>>(body).ok()?.into_model()
}
