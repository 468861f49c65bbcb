//! The one normal form of a path.
//!
//! Routes match it, policies see it, logs show it and the upstream receives it; there is no
//! second spelling. Normalising twice equals normalising once.

use std::borrow::Cow;

/// The path is malformed, or its meaning would depend on who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPath;

/// The normal form of `path`, which must begin with `/`: only unreserved escapes decoded, other
/// escapes in upper case, dot segments resolved, repeated slashes merged. Encoded separators,
/// backslashes, path parameters, fragments and NUL are refused.
pub(crate) fn normalise(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(BadPath);
    }
    let mut plain = true;
    let mut previous = 0_u8;
    for byte in bytes {
        match byte {
            b'\\' | b';' | b'#' | b'?' => return Err(BadPath),
            b'!'..=b'~' => {}
            _ => return Err(BadPath),
        }
        plain &= *byte != b'%' && !(previous == b'/' && matches!(byte, b'/' | b'.'));
        previous = *byte;
    }
    if plain {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(bytes)?;
    Ok(Cow::Owned(resolve(&decoded)))
}

/// Decodes unreserved escapes and writes the others in upper case.
fn decode(bytes: &[u8]) -> Result<String, BadPath> {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            out.push(char::from(*byte));
            continue;
        }
        let (Some(high), Some(low)) = (rest.next().and_then(hex), rest.next().and_then(hex)) else {
            return Err(BadPath);
        };
        match high << 4 | low {
            b'/' | b'\\' | b';' | 0 => return Err(BadPath),
            value @ (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~') => {
                out.push(char::from(value));
            }
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(HEX[usize::from(high)]));
                out.push(char::from(HEX[usize::from(low)]));
            }
        }
    }
    Ok(out)
}

fn hex(byte: &u8) -> Option<u8> {
    char::from(*byte)
        .to_digit(16)
        .and_then(|n| u8::try_from(n).ok())
}

/// Merges slashes and resolves dot segments (RFC 3986 §5.2.4; `..` at the root stays there).
fn resolve(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if open || kept.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests;
