//! What one request leaves on its core, until the writer turns it into a log line and a record.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::Timestamp;
use lockgate_model::record::RequestRecord;
use parking_lot::Mutex;

use crate::failure::Failure;

/// Text of a request id: a UUID of version 7.
pub(crate) type RequestId = [u8; 36];

/// A request under way, or just finished.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) id: RequestId,
    pub(crate) at: Timestamp,
    pub(crate) table_version: u64,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) consumer: Option<Arc<str>>,
    pub(crate) api_key: Option<Arc<str>>,
    /// Method, host and path in one allocation.
    text: String,
    method_length: usize,
    host_length: usize,
    pub(crate) status: u16,
    pub(crate) failure: Option<Failure>,
    pub(crate) upstream: Option<Arc<str>>,
    pub(crate) attempts: u32,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// Monotonic; the durations below count from it.
    pub(crate) started: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) total: Duration,
    pub(crate) client: IpAddr,
}

impl Trace {
    pub(crate) fn new(id: RequestId, at: Timestamp, started: Duration, client: IpAddr) -> Self {
        Self {
            id,
            at,
            table_version: 0,
            route: None,
            consumer: None,
            api_key: None,
            text: String::new(),
            method_length: 0,
            host_length: 0,
            status: 0,
            failure: None,
            upstream: None,
            attempts: 0,
            request_bytes: 0,
            response_bytes: 0,
            started,
            first_byte: Duration::ZERO,
            total: Duration::ZERO,
            client,
        }
    }

    /// Says what was asked for; empty parts are not known yet.
    pub(crate) fn asked(&mut self, method: &str, host: &str, path: &str) {
        self.text.clear();
        self.text.reserve(method.len() + host.len() + path.len());
        self.text.push_str(method);
        self.text.push_str(host);
        self.text.push_str(path);
        self.method_length = method.len();
        self.host_length = host.len();
    }

    pub(crate) fn method(&self) -> &str {
        &self.text[..self.method_length]
    }

    pub(crate) fn host(&self) -> &str {
        &self.text[self.method_length..self.method_length + self.host_length]
    }

    pub(crate) fn path(&self) -> &str {
        &self.text[self.method_length + self.host_length..]
    }

    pub(crate) fn id(&self) -> &str {
        std::str::from_utf8(&self.id).unwrap_or_default()
    }

    /// The record for the consumers of records.
    pub(crate) fn record(&self) -> RequestRecord {
        let text = |name: &Option<Arc<str>>| name.as_deref().map(str::to_owned);
        RequestRecord {
            id: self.id().to_owned(),
            at: self.at,
            table_version: self.table_version,
            route: text(&self.route),
            consumer: text(&self.consumer),
            api_key: text(&self.api_key),
            method: self.method().to_owned(),
            host: self.host().to_owned(),
            path: self.path().to_owned(),
            status: self.status,
            failure: self.failure.as_ref().map(|f| f.kind.reason()),
            upstream: text(&self.upstream),
            attempts: self.attempts,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            first_byte: self.first_byte,
            total: self.total,
            client: self.client.to_string(),
        }
    }
}

/// Finished requests of one core, waiting for the writer's next round.
///
/// The lock is uncontended but for the moment in which the writer swaps the list; pushing never
/// wakes anybody, because a wake-up is a system call.
#[derive(Debug)]
pub(crate) struct TraceQueue {
    waiting: Mutex<Vec<Trace>>,
    cap: usize,
}

impl TraceQueue {
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            waiting: Mutex::new(Vec::new()),
            cap,
        }
    }

    /// Adds a trace; false when the queue is full and the trace is dropped.
    pub(crate) fn push(&self, trace: Trace) -> bool {
        let mut waiting = self.waiting.lock();
        let room = waiting.len() < self.cap;
        if room {
            waiting.push(trace);
        }
        room
    }

    /// Swaps the waiting traces with `empty`.
    pub(crate) fn swap(&self, empty: &mut Vec<Trace>) {
        std::mem::swap(&mut *self.waiting.lock(), empty);
    }
}
