//! A vendor of AI models for tests: an OpenAI-compatible server whose models misbehave on request,
//! and which keeps a log of every call it saw.
//!
//! The model's name says what happens, see [`Behaviour::of`]. One word is one token, so what was
//! written can be counted on both sides.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

/// The key that the vendor wants.
pub const KEY: &str = "sk-vendor-canary-5b1f09";

/// A text that stands once in every word that the vendor writes.
pub const WORD: &str = "\"content\":\"tok \"";

/// Words of an answer unless `max_tokens` says otherwise.
const WORDS: u64 = 8;
/// Bytes of the answer of a big model.
const BIG_BYTES: usize = 10 << 20;
/// A connection of a test that hangs for longer is a defect.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A call as the vendor saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `x-request-id`, by which the ledger knows it.
    pub request: String,
    /// The body as it came.
    pub body: String,
    /// Header lines as they came.
    pub head: String,
    /// Tokens of the request, as the vendor counts them.
    pub input: u64,
    /// Those of them that it had in its cache: half of them when the request names a
    /// `prompt_cache_key`, else none.
    pub cached: u64,
    /// Tokens written, the one under way included.
    pub output: u64,
    /// The answer was written to its end.
    pub complete: bool,
}

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Answer,
    /// Closes after the third word of a stream, and in the middle of an answer.
    Cut,
    /// Says nothing more after the third word.
    Stall,
    Garbage,
    Big,
    /// Status and error of the API.
    Refuse(u16),
}

impl Behaviour {
    fn of(model: &str) -> Self {
        match model {
            "test-cut" => Self::Cut,
            "test-stall" => Self::Stall,
            "test-garbage" => Self::Garbage,
            "test-big" => Self::Big,
            "test-400" => Self::Refuse(400),
            "test-429" => Self::Refuse(429),
            "test-500" => Self::Refuse(500),
            _ => Self::Answer,
        }
    }
}

/// A running vendor. Dropping it ends it.
#[derive(Debug)]
pub struct Vendor {
    address: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    log: Mutex<Vec<Seen>>,
    stop: AtomicBool,
    /// Between two words.
    pace: Duration,
    /// Streams stay where they are.
    held: Mutex<bool>,
    released: Condvar,
}

impl Vendor {
    /// Starts a vendor on a free port that waits for `pace` between two words of a stream.
    pub fn start(pace: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen as a vendor")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            log: Mutex::default(),
            stop: AtomicBool::new(false),
            pace,
            held: Mutex::new(false),
            released: Condvar::new(),
        });
        let server = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&listener, &server));
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// The base URL of its API.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Every call so far.
    pub fn log(&self) -> Vec<Seen> {
        self.shared.log.lock().clone()
    }

    /// Streams say nothing after the word under way until [`Vendor::release`].
    pub fn hold(&self) {
        *self.shared.held.lock() = true;
    }

    /// Streams go on.
    pub fn release(&self) {
        *self.shared.held.lock() = false;
        self.shared.released.notify_all();
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.release();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let shared = Arc::clone(shared);
        // A client that leaves is what many tests are about.
        std::thread::spawn(move || connection(stream, &shared));
    }
}

/// Serves one connection until it ends, or until an answer must end with it.
fn connection(stream: TcpStream, shared: &Shared) -> Option<()> {
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let (head, body) = read_request(&mut stream)?;
        let at = note(shared, head, body);
        let call = Call {
            shared,
            at,
            stream: stream.get_mut(),
        };
        call.answer()?;
        shared.log.lock()[at].complete = true;
    }
}

fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut head = String::new();
    loop {
        let start = head.len();
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head[start..].trim_end().is_empty() {
            break;
        }
    }
    let length = header(&head, "content-length").and_then(|v| v.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8_lossy(&body).into_owned()))
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Puts a call into the log; its place there.
fn note(shared: &Shared, head: String, body: String) -> usize {
    let input = 3 + body.len() as u64 % 17;
    let caches = body.contains("\"prompt_cache_key\":");
    let seen = Seen {
        request: header(&head, "x-request-id").unwrap_or_default().to_owned(),
        input,
        cached: if caches { input / 2 } else { 0 },
        output: 0,
        complete: false,
        head,
        body,
    };
    let mut log = shared.log.lock();
    log.push(seen);
    log.len() - 1
}

struct Call<'c> {
    shared: &'c Shared,
    at: usize,
    stream: &'c mut TcpStream,
}

impl Call<'_> {
    /// `None` when the connection is over.
    fn answer(mut self) -> Option<()> {
        let seen = self.shared.log.lock()[self.at].clone();
        let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
        let expected = format!("Bearer {KEY}");
        if header(&seen.head, "authorization") != Some(&expected) {
            return self.refuse(401, "Incorrect API key provided");
        }
        let behaviour = Behaviour::of(body["model"].as_str().unwrap_or_default());
        let words = body["max_tokens"].as_u64().unwrap_or(WORDS);
        let embeddings = seen.head.contains(" /v1/embeddings ");
        match behaviour {
            Behaviour::Refuse(status) => self.refuse(status, "told to refuse"),
            Behaviour::Garbage => self.whole(b"<html>\x00\xff garbage"),
            Behaviour::Big => self.big(&seen),
            _ if embeddings => {
                let usage = json!({"prompt_tokens": seen.input, "total_tokens": seen.input});
                let answer = json!({"object": "list", "model": body["model"], "usage": usage,
                    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]});
                self.whole(answer.to_string().as_bytes())
            }
            _ if body["stream"] == true => self.words(behaviour, words, &body, &seen),
            Behaviour::Cut => {
                self.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{\"id\"");
                None
            }
            Behaviour::Stall => {
                self.wait_for_end();
                None
            }
            Behaviour::Answer => {
                self.count(words);
                let answer = json!({"id": "c-1", "object": "chat.completion", "created": 0,
                    "model": body["model"], "usage": usage(&seen, words),
                    "choices": [{"index": 0, "finish_reason": "stop", "message":
                        {"role": "assistant", "content": "tok ".repeat(usize::try_from(words).ok()?)}}]});
                self.whole(answer.to_string().as_bytes())
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).ok()
    }

    fn count(&self, words: u64) {
        self.shared.log.lock()[self.at].output += words;
    }

    fn refuse(&mut self, status: u16, message: &str) -> Option<()> {
        let body = json!({"error": {"message": message, "type": "x", "param": null, "code": null}});
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.write([head.as_bytes(), body.as_bytes()].concat().as_slice())
    }

    fn whole(&mut self, body: &[u8]) -> Option<()> {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-ratelimit-limit-requests: 1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.write([head.as_bytes(), body].concat().as_slice())
    }

    fn big(&mut self, seen: &Seen) -> Option<()> {
        self.count(1);
        let text = "x".repeat(BIG_BYTES);
        let answer = format!(
            r#"{{"choices":[{{"message":{{"content":"{text}"}}}}],"usage":{}}}"#,
            usage(seen, 1)
        );
        self.whole(answer.as_bytes())
    }

    /// A stream of words, one token each.
    fn words(
        &mut self,
        behaviour: Behaviour,
        words: u64,
        request: &Value,
        seen: &Seen,
    ) -> Option<()> {
        self.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let asked = request["stream_options"]["include_usage"] == true;
        let model = &request["model"];
        let chunk = |delta: &str, finish: &str| {
            let null = if asked { ",\"usage\":null" } else { "" };
            format!(
                r#"data: {{"id":"c-1","object":"chat.completion.chunk","created":0,"model":{model},"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]{null}}}"#
            ) + "\n\n"
        };
        self.event(&chunk(r#"{"role":"assistant","content":""}"#, "null"))?;
        for word in 0..words {
            if word == 3 && behaviour == Behaviour::Cut {
                return None;
            }
            if word == 3 && behaviour == Behaviour::Stall {
                self.wait_for_end();
                return None;
            }
            self.count(1);
            self.event(&chunk(r#"{"content":"tok "}"#, "null"))?;
            std::thread::park_timeout(self.shared.pace);
            let mut held = self.shared.held.lock();
            self.shared.released.wait_while(&mut held, |held| *held);
        }
        self.event(&chunk("{}", "\"stop\""))?;
        if asked {
            let usage = usage(seen, words);
            self.event(&format!(
                "data: {{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":{model},\"choices\":[],\"usage\":{usage}}}\n\n"
            ))?;
        }
        self.event("data: [DONE]\n\n")?;
        self.write(b"0\r\n\r\n")
    }

    fn event(&mut self, text: &str) -> Option<()> {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.write(chunk.as_bytes())
    }

    /// Says nothing until the other side leaves.
    fn wait_for_end(&mut self) {
        let mut byte = [0];
        let _ = self.stream.read(&mut byte);
    }
}

fn usage(seen: &Seen, output: u64) -> Value {
    let input = seen.input;
    let mut usage = json!({"prompt_tokens": input, "completion_tokens": output,
        "total_tokens": input + output});
    if seen.cached > 0 {
        usage["prompt_tokens_details"] = json!({"cached_tokens": seen.cached});
    }
    usage
}
