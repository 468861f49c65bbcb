//! Entry points of the fuzz targets in `fuzz/`, each with its oracle: a panic is a find.
//!
//! The oracles share no code with what they judge: [`reference`] reads heads and chunks by the
//! grammar of RFC 9112 and nothing else.

mod forwarded;
mod reference;
mod world;

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::conn::forward;
use crate::failure::Kind;
use crate::h1::body::{Body, Framing, Piece};
use crate::h1::head::{self, BareLineEnd, Scan};
use crate::h1::write::{LAST_CHUNK, put_chunk};
use crate::path::normalise;
use crate::settings::Limits;
use crate::table::compile;
use crate::table_file;
use world::World;

/// A request head: found alike however it arrives, read as the grammar says, and forwarded so
/// that no reader downstream can see another request in it.
pub fn request(bytes: &[u8]) {
    let Some(range) = scan(bytes) else {
        return;
    };
    let head = &bytes[range];
    let mut slots = head::slots();
    if let Ok(request) = head::parse_request(head, &mut slots, Limits::TARGET_BYTES_MAX) {
        let read = reference::head(head).expect("the grammar knows what was taken");
        let start = format!(
            "{} {} HTTP/1.{}",
            request.method, request.target, request.minor
        );
        assert_eq!(read.start, start.as_bytes(), "the request line");
        assert_same_fields(&read, request.fields);
        if let Ok(framing) = head::declared_framing(request.fields, request.minor) {
            assert_eq!(read.framing(request.minor), Ok(framing), "the framing");
        }
    }
    World::with(|world| forwarded::check(world, head));
}

/// An answer's head, seen by clients of every kind. The first byte says which.
pub fn response(bytes: &[u8]) {
    let Some((control, bytes)) = bytes.split_first() else {
        return;
    };
    let Some(range) = scan(bytes) else {
        return;
    };
    let head = &bytes[range];
    let mut slots = head::slots();
    let Ok(response) = head::parse_response(head, &mut slots) else {
        return;
    };
    let read = reference::head(head).expect("the grammar knows what was taken");
    assert_same_fields(&read, response.fields);
    if response.status < 200 {
        return;
    }
    World::with(|world| {
        let (head_only, minor, close) = (control & 1 != 0, control >> 1 & 1, control & 4 != 0);
        let plan = world.plan_for(head_only, minor);
        let mut out = Vec::new();
        let Ok(answer) = forward::write(&world.core, &mut out, &plan, &response, close) else {
            return;
        };
        // The connection adds fields of its own and the empty line.
        out.extend_from_slice(b"\r\n");
        let written = reference::head(&out).expect("what is written is a head");
        written.assert_no_connection_fields(&["connection"]);
        assert!(written.values("x-request-id").is_empty(), "that is ours");
        let mut slots = head::slots();
        match head::parse_response(&out, &mut slots) {
            Ok(again) => assert_eq!((again.status, again.minor), (response.status, 1)),
            // Our own fields may be too many for one more hop.
            Err(kind) => assert_eq!(kind, Kind::UpstreamHeadTooLarge),
        }
        let framing = written.framing(1).expect("one framing");
        let closes = written.values("connection") == [b"close".as_slice()];
        assert_eq!(
            closes, !answer.keep_client,
            "the client is told of the close"
        );
        let bodiless = head_only || matches!(response.status, 204 | 304);
        match framing {
            Some(Framing::Chunked) => assert!(answer.chunked_out && minor == 1),
            Some(Framing::Length(n)) if !bodiless => assert_eq!(answer.body.expected(), n),
            Some(Framing::Length(_)) => assert!(answer.body.is_done()),
            _ if bodiless => assert!(answer.body.is_done()),
            _ => assert!(
                answer.close_delimited_out && closes,
                "a body without an end"
            ),
        }
    });
}

/// A chunked body: the same data, end and verdict however it is cut; the data that the grammar
/// says; and the same data again when it is written anew.
pub fn chunked(bytes: &[u8]) {
    let whole = decode(&[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&single), whole, "byte by byte");
    for at in [
        bytes.len() / 3,
        bytes.len() / 2,
        bytes.len().saturating_sub(1),
    ] {
        let (first, second) = bytes.split_at(at);
        assert_eq!(decode(&[first, second]), whole, "cut at {at}");
    }
    let read = reference::chunked(bytes);
    let Some((data, rest)) = whole else {
        assert!(
            !read.is_some_and(|read| read.plain),
            "nothing is wrong with it"
        );
        return;
    };
    let read = read.expect("the grammar knows what was taken");
    assert_eq!((read.data.as_slice(), read.rest), (data.as_slice(), rest));
    let mut again = Vec::new();
    for part in data.chunks(1 + data.len() / 3) {
        put_chunk(&mut again, part);
    }
    again.extend_from_slice(LAST_CHUNK);
    assert_eq!(decode(&[&again]), Some((data, 0)));
}

/// The normal form of a path: stable, free of what others could read differently, and naming the
/// same segments.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(normal) = normalise(text) else {
        return;
    };
    assert_eq!(normalise(&normal).as_deref(), Ok(&*normal), "twice is once");
    assert!(normal.starts_with('/') && normal.is_ascii());
    let inner = &normal[1..];
    let last = inner.rsplit('/').next();
    for segment in inner.split('/') {
        assert!(!matches!(segment, "." | ".."), "{normal}");
        assert!(!segment.is_empty() || last == Some(""), "{normal}");
    }
    assert!(!normal.contains("//"), "{normal}");
    let upper = normal.to_ascii_uppercase();
    for refused in ["%2F", "%5C", "%3B", "%00", "%2E", "\\", ";", "?", "#"] {
        assert!(!upper.contains(refused), "{normal}");
    }
    assert_eq!(reference::segments(&normal), reference::segments(text));
}

/// A table file: any bytes are read or refused, a spec that reads is compiled or refused, and
/// what is written reads back.
pub fn table(bytes: &[u8]) {
    // Almost no input has a good checksum, so one is put in front.
    let header = format!("lockgate-table 1 {}\n", hex::encode(Sha256::digest(bytes)));
    let whole = [header.as_bytes(), bytes].concat();
    // Any verdict will do; that it comes is what is tested.
    let _ = table_file::decode(bytes);
    let Ok(spec) = table_file::decode(&whole) else {
        return;
    };
    let again = table_file::encode(&spec).expect("a spec can be written");
    assert_eq!(table_file::decode(&again).ok().as_ref(), Some(&spec));
    let found = compile::check(&spec);
    assert_eq!(found, compile::check(&spec), "the verdict does not change");
}

/// The head in `bytes`, which must not depend on how they arrive.
fn scan(bytes: &[u8]) -> Option<Range<usize>> {
    let whole = Scan::default().feed(bytes);
    let mut scan = Scan::default();
    let mut single: Result<Option<Range<usize>>, BareLineEnd> = Ok(None);
    for end in 1..=bytes.len() {
        single = scan.feed(&bytes[..end]);
        if single != Ok(None) {
            break;
        }
    }
    assert_eq!(single, whole, "byte by byte");
    whole.ok().flatten()
}

fn assert_same_fields(read: &reference::Head, fields: &[httparse::Header<'_>]) {
    let theirs = read
        .fields
        .iter()
        .map(|(n, v)| (n.as_slice(), v.as_slice()));
    let ours = fields
        .iter()
        .map(|f| (f.name.to_ascii_lowercase().into_bytes(), f.value));
    assert!(
        theirs.eq(ours
            .collect::<Vec<_>>()
            .iter()
            .map(|(n, v)| (n.as_slice(), *v))),
        "the fields"
    );
}

/// The data and the count of bytes after the end; `None` when it is broken or has no end.
fn decode(pieces: &[&[u8]]) -> Option<(Vec<u8>, usize)> {
    let mut body = Body::new(Framing::Chunked);
    let mut data = Vec::new();
    let mut unread: Vec<u8> = Vec::new();
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            match body.next(&unread).ok()? {
                Piece::Data(n) => data.extend(unread.drain(..n)),
                Piece::Framing(n) => drop(unread.drain(..n)),
                Piece::More | Piece::End => break,
            }
        }
    }
    body.is_done().then_some((data, unread.len()))
}

#[cfg(test)]
mod tests;
