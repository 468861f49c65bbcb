//! The machine that reads an event stream of chat chunks while it is relayed.
//!
//! Bytes go in as they arrive, whole events come out as they stood. Any cut of the same bytes
//! gives the same output (WHATWG HTML §9.2.6: lines end with CR, LF or CRLF, an empty line ends an
//! event).

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use lockgate_model::ai::Usage;
use memchr::memmem::Finder;

use crate::json::{members, span};
use crate::usage::parse_usage;

/// Longest event that is held and read; a longer one is relayed as it comes.
const EVENT_BYTES_MAX: usize = 256 * 1024;

/// Names that are looked for in each event, made ready once: building a search costs more than the
/// search in an event of usual size.
struct Names {
    usage: Finder<'static>,
    error: Finder<'static>,
    /// Members of a delta that carry output.
    output: [Finder<'static>; 4],
}

static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    usage: Finder::new("\"usage\""),
    error: Finder::new("\"error\""),
    output: [
        "\"content\"",
        "\"arguments\"",
        "\"refusal\"",
        "\"reasoning_content\"",
    ]
    .map(Finder::new),
});

/// Reads one stream.
#[derive(Debug, Default)]
pub struct EventStream {
    /// We asked for the tokens, the client did not: it must not see them.
    hide_usage: bool,
    /// The begun event.
    tail: Vec<u8>,
    /// The begun event was too long to hold; its bytes are gone to the client.
    raw: bool,
    /// The begun line has no byte yet.
    line_begun: bool,
    /// The last byte was a CR; an LF belongs to it.
    after_cr: bool,
    /// The last byte ended an event; `Some(false)` when that event was not passed on.
    ended_event: Option<bool>,
    not_first: bool,
    seen: Ended,
}

/// What a stream has told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Tokens, if the vendor told them.
    pub usage: Option<Usage>,
    /// Chunks that carried output; each stands for at least one token.
    pub output_chunks: u64,
    /// `[DONE]` was seen: the stream is complete.
    pub done: bool,
    /// The vendor reported an error inside the stream.
    pub failed: bool,
}

impl EventStream {
    /// A machine at the start of a stream. With `hide_usage` the chunk that only tells the tokens
    /// is taken out, and `"usage":null` is cut from the others.
    pub fn new(hide_usage: bool) -> Self {
        Self {
            hide_usage,
            ..Self::default()
        }
    }

    /// What was seen.
    pub fn seen(&self) -> Ended {
        self.seen
    }

    /// Whether the client has got half an event, after which nothing can be said in the stream.
    pub fn is_mid_event(&self) -> bool {
        self.raw
    }

    /// Takes bytes and appends what goes to the client to `out`.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let mut start = 0;
        let mut at = 0;
        while at < data.len() {
            if std::mem::take(&mut self.after_cr) && data[at] == b'\n' {
                at += 1;
                if let Some(passed) = self.ended_event.take() {
                    if passed {
                        out.push(b'\n');
                    }
                    start = at;
                }
                continue;
            }
            self.ended_event = None;
            let Some(found) = memchr::memchr2(b'\r', b'\n', &data[at..]) else {
                self.line_begun = true;
                break;
            };
            let empty = found == 0 && !self.line_begun;
            at += found + 1;
            self.line_begun = false;
            self.after_cr = data[at - 1] == b'\r';
            if empty {
                let passed = self.end_event(&data[start..at], out);
                self.ended_event = Some(passed);
                start = at;
            }
        }
        if self.raw {
            out.extend_from_slice(&data[start..]);
            return;
        }
        self.tail.extend_from_slice(&data[start..]);
        if self.tail.len() > EVENT_BYTES_MAX {
            out.append(&mut self.tail);
            self.raw = true;
        }
    }

    /// The event ends with `rest`; whether it was passed on.
    fn end_event(&mut self, rest: &[u8], out: &mut Vec<u8>) -> bool {
        if std::mem::take(&mut self.raw) || self.tail.len() + rest.len() > EVENT_BYTES_MAX {
            out.append(&mut self.tail);
            out.extend_from_slice(rest);
            self.not_first = true;
            return true;
        }
        if self.tail.is_empty() {
            return self.event(rest, out);
        }
        let mut event = std::mem::take(&mut self.tail);
        event.extend_from_slice(rest);
        let passed = self.event(&event, out);
        event.clear();
        self.tail = event;
        passed
    }

    /// Reads one event and passes on what the client may see of it.
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) -> bool {
        let first = !std::mem::replace(&mut self.not_first, true);
        let data = data_of(event, first);
        let data: &[u8] = &data;
        if data == b"[DONE]" {
            self.seen.done = true;
        }
        self.seen.output_chunks += u64::from(has_output(data));
        let verdict = self.verdict(data);
        match verdict {
            Verdict::Pass => out.extend_from_slice(event),
            Verdict::Drop => return false,
            Verdict::Cut(range) => {
                // Data of several lines is not a piece of the event: then nothing is cut.
                let base = (data.as_ptr() as usize).wrapping_sub(event.as_ptr() as usize);
                if base <= event.len() {
                    out.extend_from_slice(&event[..base + range.start]);
                    out.extend_from_slice(&event[base + range.end..]);
                } else {
                    out.extend_from_slice(event);
                }
            }
        }
        true
    }

    fn verdict(&mut self, data: &[u8]) -> Verdict {
        let (usage, error) = (NAMES.usage.find(data), NAMES.error.find(data));
        match (usage, error) {
            (None, None) => return Verdict::Pass,
            (Some(at), None) => {
                if let Some(range) = null_at_the_end(data, at) {
                    return if self.hide_usage {
                        Verdict::Cut(range)
                    } else {
                        Verdict::Pass
                    };
                }
            }
            _ => {}
        }
        let Ok(found) = members(data, ["usage", "error", "choices"]) else {
            return Verdict::Pass;
        };
        let [usage, error, choices] = found.0;
        let falsy = [None, Some("null"), Some("false"), Some("0"), Some("\"\"")];
        self.seen.failed |= !falsy.contains(&error);
        match usage {
            Some(raw @ "null") if self.hide_usage => {
                member_at(data, span(data, raw)).map_or(Verdict::Pass, Verdict::Cut)
            }
            Some(raw) => {
                let told = parse_usage(raw);
                self.seen.usage = told.or(self.seen.usage);
                let only = choices.is_none_or(|c| c == "null" || c[1..].trim_start() == "]");
                if self.hide_usage && told.is_some() && only {
                    Verdict::Drop
                } else {
                    Verdict::Pass
                }
            }
            None => Verdict::Pass,
        }
    }
}

/// What becomes of an event.
enum Verdict {
    Pass,
    Drop,
    /// Passed on without this range of its data.
    Cut(Range<usize>),
}

/// The data of an event: its `data` lines without their field name, joined by line feeds.
fn data_of(event: &[u8], first: bool) -> Cow<'_, [u8]> {
    let event = match event.strip_prefix(b"\xEF\xBB\xBF") {
        Some(rest) if first => rest,
        _ => event,
    };
    let mut data: Option<Cow<'_, [u8]>> = None;
    // An empty piece between CR and LF is no data line, so CRLF needs no case of its own.
    for line in event.split(|b| matches!(b, b'\r' | b'\n')) {
        let Some(value) = line.strip_prefix(b"data:") else {
            continue;
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        data = Some(match data {
            None => Cow::Borrowed(value),
            Some(before) => Cow::Owned([before.as_ref(), b"\n", value].concat()),
        });
    }
    data.unwrap_or_default()
}

/// Whether a chunk carries output. The raw pattern cannot stand inside a JSON string: there its
/// quotes would be escaped.
fn has_output(data: &[u8]) -> bool {
    NAMES.output.iter().any(|finder| {
        finder.find_iter(data).any(|at| {
            let rest = data[at + finder.needle().len()..].trim_ascii_start();
            let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
            value.is_some_and(|value| value.starts_with(b"\"") && !value.starts_with(b"\"\""))
        })
    })
}

/// The member `"usage":null` with the comma before it, when its name is first at `at` and it is the
/// last member, as vendors write it. The brace that ends a chunk closes the chunk itself, so no
/// other member needs to be read to know whose it is.
fn null_at_the_end(data: &[u8], at: usize) -> Option<Range<usize>> {
    let object = data.starts_with(b"{") && data[at..] == *b"\"usage\":null}";
    let comma = at.checked_sub(1).filter(|comma| data[*comma] == b',')?;
    object.then(|| comma..data.len() - 1)
}

/// The member `usage` with the value at `value`, together with the comma that goes with it; `None`
/// when its key is written in another way.
fn member_at(data: &[u8], value: Range<usize>) -> Option<Range<usize>> {
    let before = data[..value.start].trim_ascii_end().strip_suffix(b":")?;
    let before = before.trim_ascii_end().strip_suffix(b"\"usage\"")?;
    if let Some(rest) = before.trim_ascii_end().strip_suffix(b",") {
        return Some(rest.len()..value.end);
    }
    let after = data[value.end..].trim_ascii_start();
    let comma = usize::from(after.starts_with(b","));
    Some(before.len()..data.len() - after.len() + comma)
}

#[cfg(test)]
mod tests;
