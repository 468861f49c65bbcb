//! Message bodies: finding the data and the end in bytes that arrive in any pieces.

use super::field::{Field, classify};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; 0 means no body.
    Length(u64),
    Chunked,
    /// Until the peer closes; its end cannot be told from a cut.
    Close,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The first so many of the unread bytes are data.
    Data(usize),
    /// The first so many of the unread bytes are framing, to be dropped.
    Framing(usize),
    /// More bytes are needed.
    More,
    /// The body is complete; unread bytes belong to the next message.
    End,
}

/// The chunked coding was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// Most hex digits of a chunk size: enough for any length that fits memory or disk.
const SIZE_DIGITS_MAX: u32 = 15;
/// Most bytes of extensions on one chunk; we use none, so a little tolerance is enough.
const EXTENSION_BYTES_MAX: u32 = 256;
/// Most bytes of extensions in one body.
const EXTENSION_BYTES_TOTAL_MAX: u32 = 4096;
/// Most bytes of trailers.
const TRAILER_BYTES_MAX: usize = 8192;
/// Most fields in the trailers.
const TRAILER_FIELDS_MAX: usize = 32;

/// Decodes one body. Feed it the unread bytes, drop what it names, repeat.
#[derive(Debug)]
pub(crate) struct Body {
    state: State,
    extension_bytes: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    Close,
    Size { value: u64, digits: u32 },
    Extension { value: u64, bytes: u32 },
    SizeLf { value: u64 },
    Data(u64),
    DataCr,
    DataLf,
    Trailers(Vec<u8>),
    Done,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            state: match framing {
                Framing::Length(0) => State::Done,
                Framing::Length(n) => State::Length(n),
                Framing::Chunked => State::Size {
                    value: 0,
                    digits: 0,
                },
                Framing::Close => State::Close,
            },
            extension_bytes: 0,
        }
    }

    /// Whether the end was seen.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection is a proper end of this body.
    pub(crate) fn ends_on_close(&self) -> bool {
        matches!(self.state, State::Close | State::Done)
    }

    /// The connection has ended, which is a proper end of this body.
    pub(crate) fn close(&mut self) {
        self.state = State::Done;
    }

    /// Data bytes that are certain to come: of a counted body all, of a chunked one those of the
    /// current chunk. Tells whether a larger buffer pays.
    pub(crate) fn expected(&self) -> u64 {
        match self.state {
            State::Length(n) | State::Data(n) => n,
            State::Close => u64::MAX,
            _ => 0,
        }
    }

    /// Says what the first of the unread bytes are.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Piece, BadChunk> {
        match &mut self.state {
            State::Done => return Ok(Piece::End),
            _ if bytes.is_empty() => return Ok(Piece::More),
            State::Close => return Ok(Piece::Data(bytes.len())),
            State::Length(rest) => {
                let n = take(rest, bytes);
                if *rest == 0 {
                    self.state = State::Done;
                }
                return Ok(Piece::Data(n));
            }
            State::Data(rest) => {
                let n = take(rest, bytes);
                if *rest == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Piece::Data(n));
            }
            _ => {}
        }
        for (at, byte) in bytes.iter().enumerate() {
            self.framing_byte(*byte)?;
            if matches!(self.state, State::Data(_) | State::Done) {
                return Ok(Piece::Framing(at + 1));
            }
        }
        Ok(Piece::Framing(bytes.len()))
    }

    /// Moves on by one byte of the chunked framing.
    fn framing_byte(&mut self, byte: u8) -> Result<(), BadChunk> {
        let next = match &mut self.state {
            State::Size { value, digits } => match (byte, (byte as char).to_digit(16)) {
                (_, Some(digit)) if *digits < SIZE_DIGITS_MAX => State::Size {
                    value: *value << 4 | u64::from(digit),
                    digits: *digits + 1,
                },
                (b'\r', _) if *digits > 0 => State::SizeLf { value: *value },
                (b';', _) if *digits > 0 => State::Extension {
                    value: *value,
                    bytes: 0,
                },
                _ => return Err(BadChunk),
            },
            State::Extension { value, bytes } => match byte {
                b'\r' => State::SizeLf { value: *value },
                b'\t' | b' '..=b'~' => {
                    self.extension_bytes += 1;
                    if *bytes >= EXTENSION_BYTES_MAX
                        || self.extension_bytes > EXTENSION_BYTES_TOTAL_MAX
                    {
                        return Err(BadChunk);
                    }
                    State::Extension {
                        value: *value,
                        bytes: *bytes + 1,
                    }
                }
                _ => return Err(BadChunk),
            },
            State::SizeLf { value } => match (byte, *value) {
                (b'\n', 0) => State::Trailers(Vec::new()),
                (b'\n', n) => State::Data(n),
                _ => return Err(BadChunk),
            },
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => State::Size {
                value: 0,
                digits: 0,
            },
            State::Trailers(_) => return self.trailer_byte(byte),
            _ => return Err(BadChunk),
        };
        self.state = next;
        Ok(())
    }

    /// Collects trailers until the empty line, then checks them as a whole.
    fn trailer_byte(&mut self, byte: u8) -> Result<(), BadChunk> {
        let State::Trailers(seen) = &mut self.state else {
            return Err(BadChunk);
        };
        if seen.len() >= TRAILER_BYTES_MAX || (byte == b'\n' && seen.last() != Some(&b'\r')) {
            return Err(BadChunk);
        }
        seen.push(byte);
        if seen.as_slice() == b"\r\n" || seen.ends_with(b"\r\n\r\n") {
            check_trailers(seen)?;
            self.state = State::Done;
        }
        Ok(())
    }
}

/// Takes from `rest` what `bytes` hold of it.
fn take(rest: &mut u64, bytes: &[u8]) -> usize {
    let n = usize::try_from(*rest).map_or(bytes.len(), |rest| rest.min(bytes.len()));
    *rest -= n as u64;
    n
}

/// Trailers obey the grammar of headers, and must not frame, route, authenticate or identify.
fn check_trailers(bytes: &[u8]) -> Result<(), BadChunk> {
    let mut fields = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
    let Ok(httparse::Status::Complete((n, fields))) = httparse::parse_headers(bytes, &mut fields)
    else {
        return Err(BadChunk);
    };
    let allowed = fields.iter().all(|field| {
        matches!(
            classify(field.name.as_bytes()),
            Field::Other | Field::Date | Field::Single
        ) && !field.name.eq_ignore_ascii_case("cookie")
    });
    if n == bytes.len() && allowed {
        Ok(())
    } else {
        Err(BadChunk)
    }
}
