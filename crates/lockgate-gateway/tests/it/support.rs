//! A gateway under test, raw clients, and upstreams that follow a script.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the edge: real sockets need the system's clock"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use lockgate_diag::Secret;
use lockgate_gateway::{Dial, Gateway, GatewaySettings, Limits, Running, key_hash};
use lockgate_model::gateway::{
    ApiKeySpec, AuthPolicy, BackendSpec, ConsumerSpec, EndpointSpec, GatewaySpec, PathMatch,
    RouteMatch, RouteSpec, TableStatus, TimeoutPolicy, UpstreamSpec,
};
use lockgate_model::record::RequestRecord;
use lockgate_model::{Clock, Rng, Timestamp};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{mpsc, watch};

/// Nothing in these tests may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct FixedRng;

impl Rng for FixedRng {
    fn fill(&self, buffer: &mut [u8]) {
        for (at, byte) in buffer.iter_mut().enumerate() {
            *byte = at as u8;
        }
    }
}

struct NoDial;

#[async_trait::async_trait]
impl Dial for NoDial {
    async fn dial(&self, instance: &str, port: u16) -> std::io::Result<TcpStream> {
        // The instance's name is the address under test.
        let host: std::net::IpAddr = instance
            .parse()
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::NotFound))?;
        TcpStream::connect((host, port))
    }
}

/// Key of the keyed hash in all tests.
pub(crate) const HASH_KEY: [u8; 32] = [9; 32];

/// The text of test key `n`.
pub(crate) fn key_text(n: u64) -> String {
    format!("lgk_{n:016x}_{}", format!("{n:02x}").repeat(32))
}

/// The stored form of test key `n`.
pub(crate) fn key(n: u64, consumer: &str) -> ApiKeySpec {
    ApiKeySpec {
        id: format!("{n:016x}"),
        consumer: consumer.to_owned(),
        hash: key_hash(&HASH_KEY, &key_text(n)),
        enabled: true,
    }
}

/// A public route for `prefix` to upstream `up`.
pub(crate) fn route(name: &str, prefix: &str) -> RouteSpec {
    RouteSpec {
        name: name.to_owned(),
        matches: RouteMatch {
            paths: vec![PathMatch::Prefix(prefix.to_owned())],
            ..RouteMatch::default()
        },
        backends: vec![BackendSpec {
            upstream: "up".into(),
            tls: Default::default(),
            weight: 1,
        }],
        strip_prefix: None,
        auth: AuthPolicy::Public,
        rate_limit: None,
        timeouts: TimeoutPolicy::default(),
        body_bytes_max: None,
        ai: None,
    }
}

/// Lets only bearers of a key in `x-api-key` in.
pub(crate) fn with_key(mut route: RouteSpec) -> RouteSpec {
    route.auth = AuthPolicy::ApiKey {
        header: "x-api-key".into(),
        consumers: Vec::new(),
    };
    route
}

/// A spec with consumers `alice` (keys 1 and 2) and `bob` (key 3), and upstream `up`.
pub(crate) fn spec(version: u64, routes: Vec<RouteSpec>, endpoints: &[SocketAddr]) -> GatewaySpec {
    GatewaySpec {
        version,
        routes,
        consumers: ["alice", "bob"]
            .map(|name| ConsumerSpec { name: name.into() })
            .to_vec(),
        api_keys: vec![key(1, "alice"), key(2, "alice"), key(3, "bob")],
        upstreams: vec![UpstreamSpec {
            name: "up".into(),
            endpoints: endpoints.iter().copied().map(EndpointSpec::Tcp).collect(),
        }],
        ai: Default::default(),
    }
}

/// A running gateway.
pub(crate) struct Rig {
    running: Option<Running>,
    pub(crate) spec: watch::Sender<Arc<GatewaySpec>>,
    pub(crate) records: mpsc::Receiver<RequestRecord>,
    pub(crate) address: SocketAddr,
}

impl Rig {
    /// A gateway of one worker that serves `spec`.
    pub(crate) fn start(spec: GatewaySpec) -> Self {
        Self::tuned(spec, |_| {})
    }

    pub(crate) fn tuned(spec: GatewaySpec, tune: impl FnOnce(&mut GatewaySettings)) -> Self {
        let mut settings = GatewaySettings {
            listen: vec!["127.0.0.1:0".parse().expect("an address")],
            workers: 1,
            key_hash_key: Secret::new(HASH_KEY),
            table_file: None,
            access_log: None,
            limits: Limits::default(),
            clock: Arc::new(SystemClock(Instant::now())),
            rng: Arc::new(FixedRng),
            ledger: None,
        };
        tune(&mut settings);
        let (spec, spec_rx) = watch::channel(Arc::new(spec));
        let (records_tx, records) = mpsc::channel(1024);
        let running = Gateway::start(settings, spec_rx, records_tx, Arc::new(NoDial))
            .expect("the gateway starts");
        let address = running.addresses()[0];
        Self {
            running: Some(running),
            spec,
            records,
            address,
        }
    }

    /// A gateway of one public catch-all route to `upstream`.
    pub(crate) fn before(upstream: &Scripted) -> Self {
        Self::start(spec(1, vec![route("all", "/")], &[upstream.address]))
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("not drained yet")
    }

    pub(crate) fn metrics(&self) -> String {
        self.running().metrics_text()
    }

    /// The value of one metric line.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
            .parse()
            .expect("a whole number")
    }

    /// Waits until the metric `name` has reached `wanted`.
    pub(crate) fn wait_for(&self, name: &str, wanted: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.metric(name) < wanted {
            assert!(Instant::now() < deadline, "{name} stays below {wanted}");
            std::thread::yield_now();
        }
    }

    /// Waits until the status meets `wanted`.
    pub(crate) fn status(&self, wanted: impl FnMut(&TableStatus) -> bool) -> TableStatus {
        let mut status = self.running().status();
        block_on(async move {
            tokio::time::timeout(PATIENCE, status.wait_for(wanted))
                .await
                .expect("the status comes in time")
                .expect("the gateway runs")
                .clone()
        })
    }

    /// Publishes `spec` and waits until it serves.
    pub(crate) fn publish(&self, spec: GatewaySpec) {
        let version = spec.version;
        self.spec.send_replace(Arc::new(spec));
        self.status(|status| status.version == version);
    }

    /// The next record.
    pub(crate) fn record(&mut self) -> RequestRecord {
        block_on(async {
            tokio::time::timeout(PATIENCE, self.records.recv())
                .await
                .expect("a record comes in time")
                .expect("the gateway runs")
        })
    }

    pub(crate) fn take(&mut self) -> Running {
        self.running.take().expect("not drained yet")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends `request` on its own connection and reads one answer.
    pub(crate) fn ask(&self, request: &[u8]) -> Answer {
        let mut client = self.client();
        client.send(request);
        client.answer()
    }

    /// `GET path` on its own connection.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
    }
}

/// Runs `future` on a small runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// A raw HTTP/1.1 client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a client saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields as sent.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The message was whole.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (have, value) = line.split_once(':')?;
            have.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The `reason` of a problem, after checking the rest of it.
    pub(crate) fn reason(&self) -> String {
        let problem: serde_json::Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"));
        assert_eq!(
            self.field("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        assert_eq!(problem["status"], self.status);
        assert_eq!(
            problem["request_id"].as_str(),
            self.field("x-request-id"),
            "{self:?}"
        );
        problem["reason"].as_str().expect("a text").to_owned()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // The gateway may refuse and close before all was sent.
        let _ = self.stream.write_all(bytes);
    }

    /// Reads until `done` says how many bytes to take, or the end.
    fn read_until(&mut self, mut done: impl FnMut(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(n) = done(&self.buffer) {
                return Some(self.buffer.drain(..n).collect());
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(n) if n > 0 => self.buffer.extend_from_slice(&chunk[..n]),
                Ok(_) => return None,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing came in {PATIENCE:?}")
                }
                Err(_) => return None,
            }
        }
    }

    /// One answer to a request that is not HEAD; of status 0 when there was none.
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        self.read_answer(method, || {})
    }

    /// One answer; `then` runs between its head and its body.
    pub(crate) fn answer_after_head(&mut self, then: impl FnOnce()) -> Answer {
        self.read_answer("GET", then)
    }

    fn read_answer(&mut self, method: &str, then: impl FnOnce()) -> Answer {
        let Some(head) = self.read_until(|b| find(b, b"\r\n\r\n").map(|at| at + 4)) else {
            return Answer::default();
        };
        then();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut answer = Answer {
            status: head[9..12].parse().expect("a status"),
            head,
            ..Answer::default()
        };
        if method == "HEAD" || matches!(answer.status, 100..=199 | 204 | 304) {
            answer.complete = true;
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().expect("a length");
            let body = self.read_until(|b| (b.len() >= length).then_some(length));
            answer.complete = body.is_some();
            answer.body = body.unwrap_or_else(|| std::mem::take(&mut self.buffer));
        } else if answer.field("transfer-encoding") == Some("chunked") {
            answer.complete = self.chunks(&mut answer.body);
        } else {
            self.read_until(|_| None);
            answer.body = std::mem::take(&mut self.buffer);
        }
        answer
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Some(line) = self.read_until(|b| find(b, b"\r\n").map(|at| at + 2)) else {
                return false;
            };
            let text = std::str::from_utf8(&line).expect("text").trim();
            let size = usize::from_str_radix(text, 16).expect("a chunk size");
            let Some(chunk) = self.read_until(|b| (b.len() >= size + 2).then_some(size + 2)) else {
                body.append(&mut self.buffer);
                return false;
            };
            assert!(chunk.ends_with(b"\r\n"), "a chunk ends by a line end");
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return true;
            }
        }
    }

    /// Waits for the first bytes of an answer and leaves them there.
    pub(crate) fn has_bytes(&mut self) -> bool {
        self.stream.peek(&mut [0]).is_ok_and(|n| n > 0)
    }

    /// Whether the gateway has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.read_until(|b| (!b.is_empty()).then_some(0)).is_none()
    }
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// An upstream that follows a script for every connection.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    /// Requests as received, head and body.
    pub(crate) seen: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: Arc<AtomicUsize>,
    go: Arc<Go>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A gate that a test opens for its upstream.
#[derive(Default)]
struct Go {
    open: Mutex<bool>,
    changed: Condvar,
}

/// One connection of a scripted upstream.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    go: Arc<Go>,
    buffer: Vec<u8>,
}

impl Peer {
    /// Waits until the test calls [`Scripted::go`].
    pub(crate) fn wait_for_go(&self) {
        let mut open = self.go.open.lock();
        while !*open {
            let late = self.go.changed.wait_for(&mut open, PATIENCE).timed_out();
            assert!(!late, "the test does not say go");
        }
    }

    /// Notes something in place of a request.
    pub(crate) fn note(&self, text: &str) {
        self.seen.lock().push(text.as_bytes().to_vec());
    }

    /// Reads `n` more bytes.
    pub(crate) fn body(&mut self, n: usize) -> Option<Vec<u8>> {
        self.until(|b| (b.len() >= n).then_some(n))
    }

    /// Reads until the end of a request head; `None` at the end of the connection.
    pub(crate) fn head(&mut self) -> Option<String> {
        self.until(|b| find(b, b"\r\n\r\n").map(|at| at + 4))
            .map(|head| String::from_utf8_lossy(&head).into_owned())
    }

    /// Reads a whole request and notes it.
    pub(crate) fn request(&mut self) -> Option<String> {
        let head = self.head()?;
        let mut whole = head.clone().into_bytes();
        let lower = head.to_ascii_lowercase();
        let length = lower
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.lines().next()?.parse::<usize>().ok());
        if let Some(length) = length {
            whole.extend(self.until(|b| (b.len() >= length).then_some(length))?);
        } else if lower.contains("transfer-encoding: chunked") {
            whole.extend(self.until(|b| {
                (b.starts_with(b"0\r\n\r\n"))
                    .then_some(5)
                    .or_else(|| find(b, b"\r\n0\r\n\r\n").map(|at| at + 7))
            })?);
        }
        self.seen.lock().push(whole.clone());
        Some(String::from_utf8_lossy(&whole).into_owned())
    }

    fn until(&mut self, mut done: impl FnMut(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(n) = done(&self.buffer) {
                return Some(self.buffer.drain(..n).collect());
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(n) if n > 0 => self.buffer.extend_from_slice(&chunk[..n]),
                _ => return None,
            }
        }
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Waits until the gateway closes this connection.
    pub(crate) fn wait_closed(&mut self) {
        let mut sink = [0; 4096];
        while matches!(self.stream.read(&mut sink), Ok(n) if n > 0) {}
    }
}

impl Scripted {
    pub(crate) fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let go: Arc<Go> = Arc::default();
        let own_go = Arc::clone(&go);
        let (own_seen, own_connections) = (Arc::clone(&seen), Arc::clone(&connections));
        let (own_stop, script) = (Arc::clone(&stop), Arc::new(script));
        let thread = std::thread::spawn(move || {
            let mut peers = Vec::new();
            for stream in listener.incoming() {
                if own_stop.load(Ordering::SeqCst) {
                    break;
                }
                let stream = stream.expect("a connection");
                stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
                own_connections.fetch_add(1, Ordering::SeqCst);
                let mut peer = Peer {
                    stream,
                    seen: Arc::clone(&own_seen),
                    go: Arc::clone(&own_go),
                    buffer: Vec::new(),
                };
                let script = Arc::clone(&script);
                peers.push(std::thread::spawn(move || {
                    script(&mut peer);
                    let _ = peer.stream.shutdown(Shutdown::Both);
                }));
            }
            for peer in peers {
                // A script that panicked has failed its test already.
                let _ = peer.join();
            }
        });
        Self {
            address,
            seen,
            connections,
            go,
            stop,
            thread: Some(thread),
        }
    }

    /// Answers every request with 200 and the request itself as body.
    pub(crate) fn echo() -> Self {
        Self::start(|peer| {
            while let Some(request) = peer.request() {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{request}",
                    request.len()
                );
                peer.say(answer.as_bytes());
            }
        })
    }

    /// Answers every request with exactly `bytes`, then closes.
    pub(crate) fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |peer| {
            if peer.request().is_some() {
                peer.say(&bytes);
            }
        })
    }

    /// Opens the gate that scripts wait at.
    pub(crate) fn go(&self) {
        *self.go.open.lock() = true;
        self.go.changed.notify_all();
    }

    /// The requests, once there are `n` of them.
    pub(crate) fn requests_after(&self, n: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        while self.seen.lock().len() < n {
            assert!(Instant::now() < deadline, "fewer than {n} requests");
            std::thread::yield_now();
        }
        self.requests()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen
            .lock()
            .iter()
            .map(|r| String::from_utf8_lossy(r).into_owned())
            .collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept call.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            let _ = thread.join();
        }
    }
}
