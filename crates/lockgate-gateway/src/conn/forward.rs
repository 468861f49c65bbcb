//! The answer's head: checked, and written anew for the client.

use std::ops::Range;

use super::plan::{Plan, put_field};
use super::{Conn, ai};
use crate::core::Core;
use crate::failure::{Failure, Kind};
use crate::h1::body::{Body, Framing};
use crate::h1::field::{Field, Nominated, classify};
use crate::h1::head::{self, FIELDS_MAX, Response, Scan};
use crate::h1::write::put_number;
use crate::upstream::Upstream;

/// How the relay of an answer's body works.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Body,
    /// The client gets the chunked coding.
    pub(crate) chunked_out: bool,
    /// The client sees the end only by the close.
    pub(crate) close_delimited_out: bool,
    /// An event stream: a cut is told by an event.
    pub(crate) events: bool,
    /// The client's connection may be used again.
    pub(crate) keep_client: bool,
    /// The upstream's connection may be used again, if nothing is left over.
    pub(crate) keep_upstream: bool,
}

/// Takes the head in `range` of the upstream's bytes. A final head is written for the client to
/// `conn.out`; an interim one is dropped and gives `None`.
pub(crate) fn answer<L>(
    conn: &mut Conn<L>,
    plan: &Plan,
    upstream: &mut Upstream,
    range: Range<usize>,
    early: bool,
) -> Result<Option<Answer>, Failure> {
    let end = range.end;
    let mut slots = head::slots();
    let response = head::parse_response(&upstream.input.filled()[range], &mut slots)?;
    if response.status == 101 {
        return Err(Failure::because(
            Kind::BadResponse,
            "101 that nobody asked for",
        ));
    }
    if response.status < 200 {
        upstream.input.consume(end);
        return Ok(None);
    }
    let close = early || !plan.keep_alive || conn.core.is_draining();
    let answer = write(&conn.core, &mut conn.out, plan, &response, close)?;
    upstream.input.consume(end);
    Ok(Some(Answer {
        keep_upstream: answer.keep_upstream && !early,
        ..answer
    }))
}

/// Whether the upstream's bytes are a whole `100 Continue`, which is then dropped.
pub(crate) fn take_continue(upstream: &mut Upstream, scan: &mut Scan) -> Result<bool, Failure> {
    let Some(range) = scan
        .feed(upstream.input.filled())
        .map_err(|_| Kind::BadResponse)?
    else {
        return Ok(false);
    };
    let end = range.end;
    let mut slots = head::slots();
    let status = head::parse_response(&upstream.input.filled()[range], &mut slots)?.status;
    if status == 100 {
        upstream.input.consume(end);
        *scan = Scan::default();
    }
    Ok(status == 100)
}

/// The fields that pass on: not those of the connection, nor those the connection field names.
fn put_fields(
    out: &mut Vec<u8>,
    response: &Response<'_, '_>,
    kinds: &[Field],
    nominated: &Nominated,
) {
    for (field, kind) in response.fields.iter().zip(kinds) {
        let passes = matches!(
            kind,
            Field::Other | Field::Single | Field::ContentType | Field::Date | Field::Authorization
        );
        if passes && !nominated.has(field.name.as_bytes()) {
            put_field(out, field.name.as_bytes(), field.value);
        }
    }
}

/// Checks a final head and writes it for the client to `out`.
pub(crate) fn write(
    core: &Core,
    out: &mut Vec<u8>,
    plan: &Plan,
    response: &Response<'_, '_>,
    close: bool,
) -> Result<Answer, Failure> {
    let declared = head::declared_framing(response.fields, response.minor)
        .map_err(|_| Failure::because(Kind::BadResponse, "its length is ambiguous"))?;
    let mut kinds = [Field::Other; FIELDS_MAX];
    let mut nominated = Nominated::default();
    let (mut dated, mut events, mut typed) = (false, false, false);
    for (field, kind) in response.fields.iter().zip(&mut kinds) {
        *kind = classify(field.name.as_bytes());
        match kind {
            Field::Connection => nominated
                .add(field.value)
                .map_err(|_| Failure::because(Kind::BadResponse, "its connection field"))?,
            Field::Date => dated = true,
            Field::ContentType if std::mem::replace(&mut typed, true) => {
                return Err(Failure::because(Kind::BadResponse, "two content types"));
            }
            Field::ContentType => {
                events = field
                    .value
                    .get(..17)
                    .is_some_and(|v| v.eq_ignore_ascii_case(b"text/event-stream"));
            }
            _ if plan.ai.is_some() && ai::is_vendors_own(field.name.as_bytes()) => {
                *kind = Field::Hop;
            }
            _ => {}
        }
    }
    let bodiless = plan.head_only || matches!(response.status, 204 | 304);
    let framing = if bodiless {
        Framing::Length(0)
    } else {
        declared.unwrap_or(Framing::Close)
    };
    let counted = matches!(framing, Framing::Length(_));
    let chunked_out = !counted && plan.minor == 1;
    let close_delimited_out = !counted && plan.minor == 0;
    let keep_client = !close && !close_delimited_out;

    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    put_number(out, u64::from(response.status));
    out.push(b' ');
    out.extend_from_slice(response.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    put_fields(out, response, &kinds, &nominated);
    // An answer to HEAD, and a 304, state the length of a body that is not sent.
    if let (Some(Framing::Length(length)), false) = (declared, response.status == 204) {
        out.extend_from_slice(b"content-length: ");
        put_number(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if chunked_out {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if !keep_client {
        out.extend_from_slice(b"connection: close\r\n");
    }
    if !dated {
        let now = core.shared.clock.now();
        put_field(out, b"date", &core.date(now));
    }
    Ok(Answer {
        status: response.status,
        body: Body::new(framing),
        chunked_out,
        close_delimited_out,
        events,
        keep_client,
        keep_upstream: response.minor == 1 && !nominated.close && framing != Framing::Close,
    })
}
