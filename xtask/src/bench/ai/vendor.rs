//! A lean vendor of streams: writes each event by itself and on time, on CPU 1.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bench::cpu::stay_on;

/// No request of a bench is larger.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// A connection that is silent for longer belongs to nobody.
const IDLE: Duration = Duration::from_secs(60);
/// Events of a stream that carry no word: the reason it ended, and `[DONE]`.
pub(super) const EVENTS_BESIDE: usize = 2;

/// A running vendor. Dropping it ends it.
pub(super) struct Vendor {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Vendor {
    /// Starts one on a free port.
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen as a vendor")?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            // Threads begin where the thread is that starts them.
            if stay_on(1).is_err() {
                return;
            }
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                // A connection ends when the other side leaves; nobody waits for it.
                std::thread::spawn(move || serve(stream));
            }
        });
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of its API.
    pub(super) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a request asks for.
struct Wanted {
    words: usize,
    pace: Duration,
    usage: bool,
}

/// Answers requests of one connection; `None` when it is over.
fn serve(stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(IDLE)).ok()?;
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let wanted = request(&mut stream)?;
        answer(stream.get_mut(), &wanted).ok()?;
    }
}

fn request(stream: &mut BufReader<TcpStream>) -> Option<Wanted> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    if length > REQUEST_BYTES_MAX {
        return None;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
    Some(Wanted {
        words: usize::try_from(body["max_tokens"].as_u64()?).ok()?,
        // A field that every proxy passes on.
        pace: Duration::from_micros(body["seed"].as_u64()?),
        usage: body["stream_options"]["include_usage"] == true,
    })
}

fn answer(stream: &mut TcpStream, wanted: &Wanted) -> std::io::Result<()> {
    let start = Instant::now();
    let mut chunk = String::from(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    let null = if wanted.usage { ",\"usage\":null" } else { "" };
    let mut at = 0;
    for word in 0..wanted.words {
        // The head goes with the first event, which is not late.
        until(start + wanted.pace * at);
        at += 1;
        let delta = format!("{{\"content\":\" tok{word:05}\"}}");
        put(&mut chunk, &choice(&delta, "null", null));
        stream.write_all(chunk.as_bytes())?;
        chunk.clear();
    }
    let usage = format!(
        "{{{HEAD},\"choices\":[],\"usage\":{{\"prompt_tokens\":180,\"completion_tokens\":{},\"total_tokens\":{}}}}}",
        wanted.words,
        180 + wanted.words
    );
    let mut last = vec![choice("{}", "\"stop\"", null)];
    last.extend(wanted.usage.then_some(usage));
    last.push("[DONE]".to_owned());
    for event in last {
        until(start + wanted.pace * at);
        at += 1;
        put(&mut chunk, &event);
        stream.write_all(chunk.as_bytes())?;
        chunk.clear();
    }
    stream.write_all(b"0\r\n\r\n")
}

/// What stands in every chunk.
const HEAD: &str = "\"id\":\"chatcmpl-bench-4bf92f3577b34da6\",\"object\":\"chat.completion.chunk\",\
     \"created\":1790000000,\"model\":\"test-small\",\"service_tier\":\"default\",\
     \"system_fingerprint\":\"fp_0e0e4736\"";

fn choice(delta: &str, finish: &str, null: &str) -> String {
    format!(
        "{{{HEAD},\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]{null}}}"
    )
}

/// Appends an event as one chunk.
fn put(chunk: &mut String, data: &str) {
    let length = data.len() + "data: \n\n".len();
    let _ = write!(chunk, "{length:x}\r\ndata: {data}\n\n\r\n");
}

fn until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}
