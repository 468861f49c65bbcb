//! Entries as bytes, little-endian: `length u32 · number u64 · checksum [8] · body`.
//!
//! The checksum is a shortened BLAKE3 of number and body. A length of zero ends a segment.
//!
//! | body | bytes |
//! |---|---|
//! | any | kind and flags u8 · request · attempt |
//! | start | … · at i64 · estimated input · terms |
//! | progress | … · tokens so far |
//! | end | … · at i64 · status u8 · HTTP status, if flagged · tokens |
//!
//! Counts are LEB128, texts follow their length, a request that is a UUID takes its sixteen bytes.
//! Every start has its terms whole: damage to one entry takes nothing from the others. No kind and
//! flags are `{`, with which the bodies of earlier releases begin. An entry has one binary body: a
//! reader takes no flag without a meaning, no longer form of a count and no UUID as text.

use std::collections::HashMap;
use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallEnd, CallId, CallStart, CallStatus, CallTerms, LedgerEntry, Operation, Price,
};

use super::bytes::{Bytes, parse_uuid, put_count, put_text, write_uuid};
use super::counts::{counts, prices, rates, usage};
use super::json;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 20;
/// Longest entry; names are far shorter.
pub(crate) const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Longest end of a call: every number at its largest, a request id of ours.
pub(crate) const SETTLED_BYTES_MAX: u64 = 160;
/// Terms that a reader keeps; when there are more, it begins anew.
const SHARED_MAX: usize = 4096;

const KIND: u8 = 0x0f;
const STARTED: u8 = 1;
const PROGRESS: u8 = 2;
const SETTLED: u8 = 3;
/// The request's id is text, not a UUID.
const TEXT_ID: u8 = 0x10;
/// A stream was asked for; or, of an end, the tokens are estimated.
const MARKED: u8 = 0x20;
/// A status of HTTP follows.
const HTTP_STATUS: u8 = 0x40;

const OPERATIONS: [(u8, Operation); 2] = [(1, Operation::Chat), (2, Operation::Embeddings)];
const STATUSES: [(u8, CallStatus); 7] = [
    (0, CallStatus::Open),
    (1, CallStatus::Ok),
    (2, CallStatus::VendorError),
    (3, CallStatus::ClientCancelled),
    (4, CallStatus::Cut),
    (5, CallStatus::Timeout),
    (6, CallStatus::Recovered),
];

/// The code of a value; every value has one.
fn code<T: PartialEq>(table: &[(u8, T)], value: T) -> u8 {
    let found = table.iter().find(|(_, known)| *known == value);
    found.map_or(u8::MAX, |(code, _)| *code)
}

fn value<T: Copy>(table: &[(u8, T)], code: u8) -> Option<T> {
    let found = table.iter().find(|(known, _)| *known == code);
    found.map(|(_, value)| *value)
}

/// A frame that lacks number and checksum.
pub(crate) fn encode(entry: &LedgerEntry) -> Vec<u8> {
    let mut frame = Vec::with_capacity(256);
    frame.resize(HEADER_BYTES, 0);
    match entry {
        LedgerEntry::Started(id, start) => {
            put_call(&mut frame, STARTED, &[(MARKED, start.stream)], id);
            frame.extend_from_slice(&start.at.0.to_le_bytes());
            put_count(&mut frame, start.input_estimate);
            put_terms(&mut frame, &start.terms);
        }
        LedgerEntry::Progress(id, output) => {
            put_call(&mut frame, PROGRESS, &[], id);
            put_count(&mut frame, *output);
        }
        LedgerEntry::Settled(id, end) => {
            let flags = [
                (MARKED, end.estimated),
                (HTTP_STATUS, end.http_status.is_some()),
            ];
            put_call(&mut frame, SETTLED, &flags, id);
            frame.extend_from_slice(&end.at.0.to_le_bytes());
            frame.push(code(&STATUSES, end.status));
            if let Some(status) = end.http_status {
                put_count(&mut frame, u64::from(status));
            }
            put_seven(&mut frame, counts(&end.usage));
        }
    }
    frame
}

fn put_call(out: &mut Vec<u8>, kind: u8, flags: &[(u8, bool)], id: &CallId) {
    let uuid = parse_uuid(&id.request);
    let set = |(flag, set): &(u8, bool)| if *set { *flag } else { 0 };
    let flags = flags.iter().map(set).fold(kind, |all, flag| all | flag);
    out.push(flags | set(&(TEXT_ID, uuid.is_none())));
    match uuid {
        Some(uuid) => out.extend_from_slice(&uuid),
        None => put_text(out, &id.request),
    }
    put_count(out, u64::from(id.attempt));
}

/// Which of seven counts are not zero, then those.
fn put_seven(out: &mut Vec<u8>, counts: [u64; 7]) {
    let at = out.len();
    out.push(0);
    for (bit, count) in counts.into_iter().enumerate() {
        if count > 0 {
            out[at] |= 1 << bit;
            put_count(out, count);
        }
    }
}

fn put_terms(out: &mut Vec<u8>, terms: &CallTerms) {
    let mut maybe = |text: Option<&Arc<str>>| {
        out.push(u8::from(text.is_some()));
        if let Some(text) = text {
            put_text(out, text);
        }
    };
    maybe(terms.consumer.as_ref());
    maybe(terms.api_key.as_ref());
    for text in [
        &terms.route,
        &terms.alias,
        &terms.vendor,
        &terms.vendor_model,
    ] {
        put_text(out, text);
    }
    out.push(code(&OPERATIONS, terms.operation));
    out.push(u8::from(terms.price.is_some()));
    if let Some(price) = &terms.price {
        put_text(out, &price.version);
        put_text(out, &price.currency);
        put_seven(out, prices(&price.rates));
    }
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

/// The terms that a reader has met, by their bytes: what was written with every call is one object.
#[derive(Debug, Default)]
pub(crate) struct SharedTerms(HashMap<Box<[u8]>, Arc<CallTerms>>);

impl SharedTerms {
    fn read(&mut self, bytes: &[u8]) -> Option<Arc<CallTerms>> {
        if let Some(terms) = self.0.get(bytes) {
            return Some(Arc::clone(terms));
        }
        let terms = Arc::new(read_terms(Bytes(bytes))?);
        if self.0.len() >= SHARED_MAX {
            self.0.clear();
        }
        self.0.insert(bytes.into(), Arc::clone(&terms));
        Some(terms)
    }
}

/// The entry of a body; `None` when it says nothing that this release understands.
pub(crate) fn decode(body: &[u8], terms: &mut SharedTerms) -> Option<LedgerEntry> {
    if body.starts_with(b"{") {
        return json::decode(body);
    }
    let mut bytes = Bytes(body);
    let flags = bytes.byte()?;
    let request = match flags & TEXT_ID {
        0 => write_uuid(bytes.take(16)?.try_into().ok()?),
        _ => Arc::from(bytes.text().filter(|text| parse_uuid(text).is_none())?),
    };
    let attempt = u32::try_from(bytes.count()?).ok()?;
    let id = CallId { request, attempt };
    let marked = flags & MARKED != 0;
    let (kind, more) = (flags & KIND, flags & !(KIND | TEXT_ID));
    let entry = match kind {
        STARTED if more & !MARKED == 0 => {
            let start = CallStart {
                at: Timestamp(bytes.number()?),
                stream: marked,
                input_estimate: bytes.count()?,
                terms: terms.read(bytes.rest())?,
            };
            LedgerEntry::Started(id, start)
        }
        PROGRESS if more == 0 => LedgerEntry::Progress(id, bytes.count()?),
        SETTLED if more & !(MARKED | HTTP_STATUS) == 0 => {
            LedgerEntry::Settled(id, read_end(&mut bytes, flags)?)
        }
        _ => return None,
    };
    bytes.rest().is_empty().then_some(entry)
}

fn read_end(bytes: &mut Bytes<'_>, flags: u8) -> Option<CallEnd> {
    let at = Timestamp(bytes.number()?);
    let status = value(&STATUSES, bytes.byte()?)?;
    let http_status = match flags & HTTP_STATUS {
        0 => None,
        _ => Some(u16::try_from(bytes.count()?).ok()?),
    };
    Some(CallEnd {
        at,
        status,
        http_status,
        usage: usage(read_seven(bytes)?),
        estimated: flags & MARKED != 0,
    })
}

fn read_seven(bytes: &mut Bytes<'_>) -> Option<[u64; 7]> {
    let there = bytes.byte()?;
    if there >> 7 != 0 {
        return None;
    }
    let mut counts = [0; 7];
    for (bit, count) in counts.iter_mut().enumerate() {
        if there >> bit & 1 == 1 {
            *count = bytes.count().filter(|count| *count > 0)?;
        }
    }
    Some(counts)
}

fn read_terms(mut bytes: Bytes<'_>) -> Option<CallTerms> {
    let mut maybe = || match bytes.byte()? {
        0 => Some(None),
        1 => Some(Some(Arc::from(bytes.text()?))),
        _ => None,
    };
    let (consumer, api_key) = (maybe()?, maybe()?);
    let mut text = || Some(Arc::<str>::from(bytes.text()?));
    let (route, alias, vendor, vendor_model) = (text()?, text()?, text()?, text()?);
    let operation = value(&OPERATIONS, bytes.byte()?)?;
    let price = match bytes.byte()? {
        0 => None,
        1 => Some(Price {
            version: bytes.text()?.into(),
            currency: bytes.text()?.into(),
            rates: rates(read_seven(&mut bytes)?),
        }),
        _ => return None,
    };
    let terms = CallTerms {
        route,
        consumer,
        api_key,
        alias,
        vendor,
        vendor_model,
        operation,
        price,
    };
    bytes.rest().is_empty().then_some(terms)
}

#[cfg(test)]
mod tests;
