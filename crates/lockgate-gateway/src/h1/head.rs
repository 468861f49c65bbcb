//! Message heads: finding their end, and parsing them by the grammar.
//!
//! `httparse` reads the parts; the checks it leaves out (bare LF, ASCII targets, one framing) are
//! made here.

use std::mem::MaybeUninit;

use super::body::Framing;
use super::field::{Field, classify};
use crate::failure::Kind;

/// Most fields in a head.
pub(crate) const FIELDS_MAX: usize = 100;

/// Room for the fields of one head, on the caller's stack.
pub(crate) type Slots<'b> = [MaybeUninit<httparse::Header<'b>>; FIELDS_MAX];

/// Empty room for fields.
pub(crate) const fn slots<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; FIELDS_MAX]
}

/// A line end that is not CRLF.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BareLineEnd;

/// Finds the end of a head while its bytes arrive, looking at each byte once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// First byte not looked at.
    at: usize,
    /// Start of the line that `at` is in.
    line: usize,
    /// Bytes of an empty line before the head, which RFC 9112 §2.2 asks to skip.
    skip: usize,
}

impl Scan {
    /// The head as a range of `bytes` once it is complete. `bytes` must begin with what was
    /// passed before.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<std::ops::Range<usize>>, BareLineEnd> {
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.at..]) {
            let end = self.at + found;
            if end == self.line || bytes[end - 1] != b'\r' {
                return Err(BareLineEnd);
            }
            let empty = end - 1 == self.line;
            self.at = end + 1;
            self.line = self.at;
            if empty {
                if end == 1 {
                    self.skip = 2;
                } else {
                    return Ok(Some(self.skip..self.at));
                }
            }
        }
        self.at = bytes.len();
        Ok(None)
    }
}

/// The parts of a request head, borrowed from its bytes.
#[derive(Debug)]
pub(crate) struct Request<'h, 'b> {
    pub(crate) method: &'b str,
    pub(crate) target: &'b str,
    /// 0 or 1.
    pub(crate) minor: u8,
    pub(crate) fields: &'h [httparse::Header<'b>],
}

/// Parses a whole request head as found by [`Scan`].
pub(crate) fn parse_request<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut Slots<'b>,
    target_bytes_max: usize,
) -> Result<Request<'h, 'b>, Kind> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, slots) {
        Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
        Ok(_) => return Err(Kind::BadFraming),
        Err(httparse::Error::TooManyHeaders) => return Err(Kind::HeadTooLarge),
        Err(httparse::Error::Version) => return Err(bad_version(bytes)),
        Err(_) => return Err(Kind::BadFraming),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(Kind::BadFraming);
    };
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Kind::BadFraming);
    }
    if target.len() > target_bytes_max {
        return Err(Kind::TargetTooLong);
    }
    Ok(Request {
        method,
        target,
        minor,
        fields: request.headers,
    })
}

/// Tells a well-formed but unknown version from garbage.
fn bad_version(bytes: &[u8]) -> Kind {
    let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').take(4).collect();
    match words.as_slice() {
        [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Kind::BadVersion
        }
        _ => Kind::BadFraming,
    }
}

/// The parts of a response head, borrowed from its bytes.
#[derive(Debug)]
pub(crate) struct Response<'h, 'b> {
    pub(crate) status: u16,
    pub(crate) reason: &'b str,
    /// 0 or 1.
    pub(crate) minor: u8,
    pub(crate) fields: &'h [httparse::Header<'b>],
}

/// Parses a whole response head as found by [`Scan`].
pub(crate) fn parse_response<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut Slots<'b>,
) -> Result<Response<'h, 'b>, Kind> {
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, bytes, slots) {
        Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Kind::UpstreamHeadTooLarge),
        _ => return Err(Kind::BadResponse),
    }
    match (response.code, response.reason, response.version) {
        (Some(status @ 100..=599), Some(reason), Some(minor)) => Ok(Response {
            status,
            reason,
            minor,
            fields: response.headers,
        }),
        _ => Err(Kind::BadResponse),
    }
}

/// Why the length of a message is not clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadLength {
    Ambiguous,
    UnknownCoding,
}

/// What the framing fields of a head say; `None` when they say nothing (RFC 9112 §6).
pub(crate) fn declared_framing(
    fields: &[httparse::Header<'_>],
    minor: u8,
) -> Result<Option<Framing>, BadLength> {
    let mut length = None;
    let mut chunked = false;
    for field in fields {
        match classify(field.name.as_bytes()) {
            Field::ContentLength => {
                let value = parse_length(field.value).ok_or(BadLength::Ambiguous)?;
                if length.replace(value).is_some() {
                    return Err(BadLength::Ambiguous);
                }
            }
            Field::TransferEncoding => {
                if chunked || minor == 0 {
                    return Err(BadLength::Ambiguous);
                }
                if !field.value.eq_ignore_ascii_case(b"chunked") {
                    let token = field.value.iter().all(|b| b.is_ascii_alphanumeric())
                        && !field.value.is_empty();
                    return Err(if token {
                        BadLength::UnknownCoding
                    } else {
                        BadLength::Ambiguous
                    });
                }
                chunked = true;
            }
            _ => {}
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(BadLength::Ambiguous),
        (None, true) => Ok(Some(Framing::Chunked)),
        (Some(n), false) => Ok(Some(Framing::Length(n))),
        (None, false) => Ok(None),
    }
}

/// A length of plain digits. No sign, no list, no overflow.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}
