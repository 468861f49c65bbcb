//! A client of streams: reads what comes, counts the events, and knows whether one is missing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::completions::PATH;

/// No stream of a bench is silent for longer.
const TIMEOUT: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 16 * 1024;
/// No head of an answer is larger.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const PROMPT_BYTES: usize = 500;

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    pub(super) words: usize,
    pub(super) pace: Duration,
    /// The client wants to know the tokens.
    pub(super) usage: bool,
}

/// One stream as it came.
#[derive(Clone, Copy, Default)]
pub(super) struct Got {
    pub(super) events: usize,
    /// Reads that ended at least one event.
    pub(super) reads: usize,
    pub(super) bytes: usize,
    /// From before the request was written to the first bytes of the body.
    pub(super) first: Duration,
}

/// One kept connection.
pub(super) struct Reader {
    stream: TcpStream,
    head: String,
}

impl Reader {
    pub(super) fn connect(address: SocketAddr, key: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            head: format!(
                "POST {PATH} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
                 content-type: application/json\r\naccept: text/event-stream\r\n"
            ),
        })
    }

    /// Asks for a stream and reads it to its end.
    pub(super) fn stream(&mut self, ask: Ask) -> Result<Got> {
        let mut body = json!({"model": "fast", "stream": true, "max_tokens": ask.words,
            "seed": ask.pace.as_micros(),
            "messages": [{"role": "user", "content": "x".repeat(PROMPT_BYTES)}]});
        if ask.usage {
            body["stream_options"] = json!({"include_usage": true});
        }
        let body = body.to_string();
        let request = format!("{}content-length: {}\r\n\r\n{body}", self.head, body.len());
        let start = Instant::now();
        self.stream.write_all(request.as_bytes())?;
        let mut got = Got::default();
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Events::default();
        while !decoder.ended {
            let n = self.stream.read(&mut buffer).context("read a stream")?;
            ensure!(n > 0, "a stream was cut after {} events", events.seen);
            let now = start.elapsed();
            let before = (events.seen, got.bytes);
            decoder.take(&buffer[..n], |data| {
                got.bytes += data.len();
                events.take(data)
            })?;
            got.reads += usize::from(events.seen > before.0);
            if before.1 == 0 && got.bytes > 0 {
                got.first = now;
            }
        }
        ensure!(
            events.words == ask.words && events.done && events.tail.is_empty(),
            "{} of {} words came, [DONE]: {}",
            events.words,
            ask.words,
            events.done
        );
        ensure!(
            events.usage == ask.usage,
            "the tokens were told: {}, asked for: {}",
            events.usage,
            ask.usage
        );
        got.events = events.seen;
        Ok(got)
    }
}

/// Takes the head and the chunked coding off an answer.
#[derive(Default)]
struct Decoder {
    head: Vec<u8>,
    in_body: bool,
    /// Bytes of the chunk's size line so far.
    line: Vec<u8>,
    /// Data of the chunk that is still to come, its line end included.
    left: usize,
    ended: bool,
}

/// Bytes after the data of a chunk.
const LINE_END: usize = 2;

impl Decoder {
    fn take(&mut self, mut bytes: &[u8], mut data: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if !self.in_body {
            self.head.extend_from_slice(bytes);
            let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n") else {
                ensure!(self.head.len() < HEAD_BYTES_MAX, "a head without an end");
                return Ok(());
            };
            self.in_body = true;
            let after = self.head.len() - end - 4;
            bytes = &bytes[bytes.len() - after..];
            let head = String::from_utf8_lossy(&self.head[..end]).to_lowercase();
            ensure!(head.starts_with("http/1.1 200 "), "not 200: {head}");
            ensure!(
                head.contains("transfer-encoding: chunked"),
                "no chunks: {head}"
            );
        }
        while !bytes.is_empty() {
            ensure!(!self.ended, "bytes after the last chunk");
            if self.left > 0 {
                let n = self.left.min(bytes.len());
                let of_data = n.min(self.left.saturating_sub(LINE_END));
                data(&bytes[..of_data])?;
                self.left -= n;
                bytes = &bytes[n..];
                continue;
            }
            self.line.push(bytes[0]);
            bytes = &bytes[1..];
            if !self.line.ends_with(b"\r\n") {
                continue;
            }
            if self.line == b"\r\n" {
                // The empty line after the chunk of no size.
                self.ended = true;
                continue;
            }
            let text = std::str::from_utf8(&self.line)?.trim_end().to_owned();
            self.line.clear();
            let size = usize::from_str_radix(&text, 16);
            let size = size.with_context(|| format!("not the size of a chunk: {text:?}"))?;
            self.left = if size > 0 { size + LINE_END } else { 0 };
        }
        Ok(())
    }
}

/// Counts events and checks their words.
#[derive(Default)]
struct Events {
    tail: Vec<u8>,
    seen: usize,
    words: usize,
    usage: bool,
    done: bool,
}

impl Events {
    fn take(&mut self, data: &[u8]) -> Result<()> {
        self.tail.extend_from_slice(data);
        let mut at = 0;
        while let Some(end) = memchr::memmem::find(&self.tail[at..], b"\n\n") {
            let event = &self.tail[at..at + end];
            at += end + 2;
            self.seen += 1;
            if self.done {
                bail!("an event after [DONE]");
            }
            self.done = event == b"data: [DONE]";
            self.usage |= memchr::memmem::find(event, b"\"completion_tokens\"").is_some();
            if let Some(word) = memchr::memmem::find(event, b" tok") {
                let number = event.get(word + 4..word + 9).unwrap_or_default();
                let expected = format!("{:05}", self.words);
                ensure!(
                    number == expected.as_bytes(),
                    "word {expected} is missing; {} came in its place",
                    String::from_utf8_lossy(number)
                );
                self.words += 1;
            }
        }
        self.tail.drain(..at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        10\r\ndata:  tok00000\n\r\n1\r\n\n\r\n1f\r\ndata:  tok00001\n\ndata: [DONE]\n\n\r\n0\r\n\r\n";

    fn read(answer: &[u8], cut: usize) -> Result<Events> {
        let mut decoder = Decoder::default();
        let mut events = Events::default();
        for piece in answer.chunks(cut) {
            decoder.take(piece, |data| events.take(data))?;
        }
        ensure!(decoder.ended, "no end");
        Ok(events)
    }

    #[test]
    fn any_cut_counts_the_same() {
        for cut in 1..=ANSWER.len() {
            let events = read(ANSWER, cut).unwrap();
            assert_eq!((events.seen, events.words, events.done), (3, 2, true));
            assert!(events.tail.is_empty());
        }
    }

    #[test]
    fn a_missing_word_and_an_error_are_seen() {
        let text = String::from_utf8(ANSWER.to_vec()).unwrap();
        assert!(read(text.replace("00001", "00002").as_bytes(), 7).is_err());
        assert!(read(text.replace("200 OK", "502 OK").as_bytes(), 7).is_err());
        assert!(read(text.replace("0\r\n\r\n", "").as_bytes(), 7).is_err());
    }
}
