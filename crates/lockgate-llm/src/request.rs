//! What is read of a request, and the closed list of splices that makes it the vendor's.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::{NotObject, members, span, text};

/// Why a request is refused before anything goes to a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// Not a JSON object in UTF-8.
    #[error("the body is not a JSON object")]
    NotJson,
    /// Nested too deep.
    #[error("the body is nested deeper than 128 levels")]
    TooDeep,
    /// A field that is acted on stands there twice.
    #[error("the body has one of `model`, `stream` and `stream_options` twice")]
    Twice,
    /// `model` is missing or no text.
    #[error("the body has no text in `model`")]
    NoModel,
    /// `stream` is no boolean, or `stream_options` no object.
    #[error("`stream` or `stream_options` has another type than the API documents")]
    BadStream,
}

/// The fields of a chat or embeddings request that are acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatRequest<'b> {
    /// The model the client asks for.
    pub model: Cow<'b, str>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Whether the client asks for the tokens of a stream itself.
    pub include_usage: bool,
    model_at: Range<usize>,
    options: Options,
}

/// Where `include_usage` has to be spliced in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Options {
    /// No `stream_options`, or null.
    Absent(Option<Range<usize>>),
    /// After this brace; `empty` when nothing follows it.
    Open { at: usize, empty: bool },
    /// `include_usage` with another value, here.
    Said(Range<usize>),
}

/// How a request is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite<'a> {
    /// Name of the model at the vendor.
    pub model: &'a str,
    /// Asks for the tokens of a stream although the client did not.
    pub include_usage: bool,
}

impl<'b> ChatRequest<'b> {
    /// Reads a whole body. All of it is proved to be JSON.
    pub fn parse(body: &'b [u8]) -> Result<Self, RequestFault> {
        let found = members(body, ["model", "stream", "stream_options"]);
        let [model, stream, options] = found.map_err(RequestFault::from)?.0;
        let model_raw = model.ok_or(RequestFault::NoModel)?;
        let stream = match stream {
            Some("true") => true,
            None | Some("false" | "null") => false,
            Some(_) => return Err(RequestFault::BadStream),
        };
        let (include_usage, options) = match options {
            None => (false, Options::Absent(None)),
            Some(raw @ "null") => (false, Options::Absent(Some(span(body, raw)))),
            Some(raw) => read_options(body, raw)?,
        };
        Ok(Self {
            model: text(model_raw).ok_or(RequestFault::NoModel)?,
            stream,
            include_usage,
            model_at: span(body, model_raw),
            options,
        })
    }

    /// The vendor's body: `body`, from which this was read, with the splices of `rewrite`. Every
    /// other byte is the client's.
    pub fn rewrite<'a>(&self, body: &'a [u8], rewrite: Rewrite<'_>) -> Rewritten<'a> {
        let mut model = Vec::with_capacity(rewrite.model.len() + 2);
        put_text(&mut model, rewrite.model);
        let mut splices: [(Range<usize>, Cow<'static, [u8]>); 2] =
            [(self.model_at.clone(), model.into()), (0..0, b"".into())];
        if rewrite.include_usage && !self.include_usage {
            let (range, bytes): (_, &'static [u8]) = match &self.options {
                // Right after the opening brace: the object is never empty, it has a model.
                Options::Absent(None) => {
                    let at = 1 + body.iter().position(|b| *b == b'{').unwrap_or(0);
                    (at..at, br#""stream_options":{"include_usage":true},"#)
                }
                Options::Absent(Some(null)) => (null.clone(), br#"{"include_usage":true}"#),
                Options::Open { at, empty: true } => (*at..*at, br#""include_usage":true"#),
                Options::Open { at, empty: false } => (*at..*at, br#""include_usage":true,"#),
                Options::Said(value) => (value.clone(), b"true"),
            };
            splices[1] = (range, bytes.into());
        }
        splices.sort_by_key(|(range, _)| range.start);
        Rewritten { body, splices }
    }
}

/// A body and what is spliced into it, written where it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten<'a> {
    body: &'a [u8],
    /// In the order of their places, which do not overlap.
    splices: [(Range<usize>, Cow<'static, [u8]>); 2],
}

impl Rewritten<'_> {
    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.splices
            .iter()
            .fold(self.body.len(), |length, (range, bytes)| {
                length - range.len() + bytes.len()
            })
    }

    /// Appends it to `out`.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut at = 0;
        for (range, bytes) in &self.splices {
            out.extend_from_slice(&self.body[at..range.start]);
            out.extend_from_slice(bytes);
            at = range.end;
        }
        out.extend_from_slice(&self.body[at..]);
    }
}

fn read_options(body: &[u8], raw: &str) -> Result<(bool, Options), RequestFault> {
    let [said] = members(raw.as_bytes(), ["include_usage"])
        .map_err(|fault| match fault {
            NotObject::Form => RequestFault::BadStream,
            fault => fault.into(),
        })?
        .0;
    Ok(match said {
        Some("true") => (true, Options::Absent(None)),
        Some(value @ ("false" | "null")) => (false, Options::Said(span(body, value))),
        Some(_) => return Err(RequestFault::BadStream),
        None => {
            let at = span(body, raw).start + 1;
            let empty = raw[1..].trim_start().starts_with('}');
            (false, Options::Open { at, empty })
        }
    })
}

impl From<NotObject> for RequestFault {
    fn from(fault: NotObject) -> Self {
        match fault {
            NotObject::Form => Self::NotJson,
            NotObject::Depth => Self::TooDeep,
            NotObject::Twice => Self::Twice,
        }
    }
}

/// Appends a JSON string.
fn put_text(out: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail, and a string has no keys that could be wrong.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests;
