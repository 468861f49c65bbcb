//! A second reader of heads, chunks and paths, written from the grammar alone: slow, and strict
//! wherever RFC 9112 leaves a choice.

use crate::h1::body::Framing;

/// A head as the grammar reads it.
#[derive(Debug)]
pub(super) struct Head {
    /// The first line.
    pub(super) start: Vec<u8>,
    /// Names in lower case, values without the space around them.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Fields that concern one connection only.
const CONNECTION_FIELDS: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "proxy-authorization",
    "proxy-authenticate",
];

/// Reads a whole head; `None` when the grammar does not allow it.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let text = bytes.strip_suffix(b"\r\n\r\n")?;
    let lines = split_lines(text)?;
    let (start, lines) = lines.split_first()?;
    let mut fields = Vec::new();
    for line in lines {
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
            return None;
        }
        let value = trim(value);
        if !value
            .iter()
            .all(|b| *b == b'\t' || *b >= b' ' && *b != 0x7f)
        {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.to_vec()));
    }
    Some(Head {
        start: start.to_vec(),
        fields,
    })
}

impl Head {
    /// All values of `name`, in which `_` counts as `-`, as CGI-like readers do.
    pub(super) fn values(&self, name: &str) -> Vec<&[u8]> {
        let fold = |b: &u8| if *b == b'_' { b'-' } else { *b };
        self.fields
            .iter()
            .filter(|(have, _)| have.iter().map(fold).eq(name.bytes()))
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// The one framing that every reader sees; an error when there could be two.
    pub(super) fn framing(&self, minor: u8) -> Result<Option<Framing>, &'static str> {
        let plain = |name: &str| {
            let wanted = self.fields.iter().filter(|(n, _)| n == name.as_bytes());
            wanted
                .map(|(_, value)| value.as_slice())
                .collect::<Vec<_>>()
        };
        let (lengths, codings) = (plain("content-length"), plain("transfer-encoding"));
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => Ok(None),
            ([length], []) => {
                let text = std::str::from_utf8(length).map_err(|_| "no number")?;
                if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                    return Err("no number");
                }
                let n = text.parse().map_err(|_| "too large a number")?;
                Ok(Some(Framing::Length(n)))
            }
            ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && minor == 1 => {
                Ok(Some(Framing::Chunked))
            }
            _ => Err("more than one framing"),
        }
    }

    /// None of the fields that end at this hop is there, in any spelling, but those of `allowed`.
    pub(super) fn assert_no_connection_fields(&self, allowed: &[&str]) {
        for name in CONNECTION_FIELDS {
            let exact = self.fields.iter().any(|(n, _)| n == name.as_bytes());
            assert!(!exact || allowed.contains(&name), "`{name}` went on");
        }
        for name in ["content-length", "transfer-encoding"] {
            let exact = self.fields.iter().filter(|(n, _)| n == name.as_bytes());
            assert_eq!(
                self.values(name).len(),
                exact.count(),
                "`{name}` in another spelling"
            );
        }
    }
}

/// A chunked body.
pub(super) struct Chunked {
    pub(super) data: Vec<u8>,
    /// Bytes after it.
    pub(super) rest: usize,
    /// Without anything that a strict reader may refuse.
    pub(super) plain: bool,
}

/// Reads a chunked body.
pub(super) fn chunked(bytes: &[u8]) -> Option<Chunked> {
    let mut rest = bytes;
    let mut data = Vec::new();
    let mut plain = true;
    loop {
        let (line, after) = line(rest)?;
        let end = line.iter().position(|b| *b == b';').unwrap_or(line.len());
        let digits = std::str::from_utf8(&line[..end]).ok()?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        plain &= end == line.len() && digits.len() <= 8;
        let size = usize::from_str_radix(digits, 16).ok()?;
        rest = after;
        if size == 0 {
            break;
        }
        data.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, after) = line(rest)?;
        rest = after;
        if line.is_empty() {
            let rest = rest.len();
            return Some(Chunked { data, rest, plain });
        }
        plain = false;
        let colon = line.iter().position(|b| *b == b':')?;
        if colon == 0 || !line[..colon].iter().all(|b| is_token(*b)) {
            return None;
        }
    }
}

/// The segments that a path names once all its escapes are decoded and its dots resolved; whether
/// it ends with a slash.
pub(super) fn segments(path: &str) -> (Vec<Vec<u8>>, bool) {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    for segment in bytes.split(|b| *b == b'/') {
        open = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment.to_vec()),
        }
    }
    let open = open || kept.is_empty();
    (kept, open)
}

/// Lines that end with CRLF; `None` when one of both stands alone.
fn split_lines(text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = line(rest) {
        lines.push(first);
        rest = after;
    }
    lines.push(rest);
    let bare = lines
        .iter()
        .any(|l| l.contains(&b'\r') || l.contains(&b'\n'));
    (!bare).then_some(lines)
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
