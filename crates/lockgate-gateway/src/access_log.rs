//! The writer thread: turns traces into JSON lines and records, woken by a timer.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockgate_model::Timestamp;
use lockgate_model::record::RequestRecord;
use tokio::sync::mpsc;

use crate::h1::write::{put_number, put_quoted};
use crate::metrics::Global;
use crate::trace::{Trace, TraceQueue};

/// Between two rounds: short enough for someone who watches the log, long enough to cost nothing.
const ROUND: Duration = Duration::from_millis(50);
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 128 * 1024;

/// The state of the writer thread.
pub(crate) struct Writer {
    pub(crate) queues: Vec<Arc<TraceQueue>>,
    pub(crate) file: Option<fs_err::File>,
    pub(crate) records: mpsc::Sender<RequestRecord>,
    pub(crate) global: Arc<Global>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Writer {
    /// Runs until `stop`, then once more, so that nothing finished before is lost.
    pub(crate) fn run(mut self) {
        let mut traces = Vec::new();
        let mut line = Line::default();
        loop {
            let last = self.stop.load(Ordering::Acquire);
            for at in 0..self.queues.len() {
                self.queues[at].swap(&mut traces);
                for trace in traces.drain(..) {
                    self.pass_on(&trace, &mut line);
                }
            }
            self.flush(&mut line);
            if last {
                return;
            }
            std::thread::park_timeout(ROUND);
        }
    }

    fn pass_on(&mut self, trace: &Trace, line: &mut Line) {
        if self.file.is_some() {
            line.put(trace);
            if line.out.len() >= WRITE_BYTES {
                self.flush(line);
            }
        }
        if !self.records.is_closed() && self.records.try_send(trace.record()).is_err() {
            self.global.records_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A disk that is full costs log lines, never requests.
    fn flush(&mut self, line: &mut Line) {
        if let Some(file) = &mut self.file
            && !line.out.is_empty()
            && file.write_all(&line.out).is_err()
        {
            self.global
                .log_lines_dropped
                .fetch_add(line.lines, Ordering::Relaxed);
        }
        line.out.clear();
        line.lines = 0;
    }
}

/// Lines gathered for one write.
#[derive(Default)]
struct Line {
    out: Vec<u8>,
    lines: u64,
    /// The last second and its text, because most lines share it.
    second: (i64, String),
}

impl Line {
    /// Appends the line of one request. Header values and bodies never appear.
    fn put(&mut self, trace: &Trace) {
        self.lines += 1;
        self.out.extend_from_slice(b"{\"at\":\"");
        self.put_time(trace.at);
        self.out.extend_from_slice(b"\"");
        self.text("id", Some(trace.id()));
        self.number("table_version", trace.table_version);
        self.text("route", trace.route.as_deref());
        self.text("consumer", trace.consumer.as_deref());
        self.text("api_key", trace.api_key.as_deref());
        self.text("method", Some(trace.method()));
        self.text("host", Some(trace.host()));
        self.text("path", Some(trace.path()));
        self.number("status", u64::from(trace.status));
        if let Some(failure) = &trace.failure {
            self.text("failure", Some(failure.kind.reason()));
            self.text("side", Some(failure.kind.side().as_str()));
            self.text("cause", failure.cause.as_deref());
        }
        self.text("upstream", trace.upstream.as_deref());
        self.number("attempts", u64::from(trace.attempts));
        self.number("request_bytes", trace.request_bytes);
        self.number("response_bytes", trace.response_bytes);
        self.number("first_byte_us", micros(trace.first_byte));
        self.number("total_us", micros(trace.total));
        self.out.extend_from_slice(b",\"client\":\"");
        put_address(&mut self.out, trace.client);
        self.out.extend_from_slice(b"\"}\n");
    }

    /// RFC 3339 in UTC with milliseconds.
    fn put_time(&mut self, at: Timestamp) {
        let second = at.as_secs();
        if self.second.0 != second || self.second.1.is_empty() {
            let text = Timestamp::from_secs(second).to_string();
            self.second = (second, text.trim_end_matches('Z').to_owned());
        }
        self.out.extend_from_slice(self.second.1.as_bytes());
        let millis = at.as_millis().rem_euclid(1000) as u16;
        self.out.push(b'.');
        for power in [100, 10, 1] {
            self.out.push(b'0' + (millis / power % 10) as u8);
        }
        self.out.push(b'Z');
    }

    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key);
            put_quoted(&mut self.out, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        put_number(&mut self.out, value);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Appends an address, without the formatter for the common kind.
pub(crate) fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                put_number(out, u64::from(octet));
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(address) => {
            let _ = write!(out, "{address}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Failure, Kind};

    #[test]
    fn a_line_is_json_and_escapes_what_clients_send() {
        let mut trace = Trace::new(
            [b'7'; 36],
            Timestamp(1_795_892_403_045_000_000),
            Duration::ZERO,
            "::ffff:192.0.2.7".parse().expect("an address"),
        );
        trace.asked("GET", "a", "/\"\\\u{1}é");
        trace.failure = Some(Failure::because(Kind::Refused, "no \"way\""));
        let mut line = Line::default();
        line.put(&trace);
        let read: serde_json::Value = serde_json::from_slice(&line.out).expect("valid JSON");
        assert_eq!(read["at"], "2026-11-28T19:00:03.045Z");
        assert_eq!(read["path"], "/\"\\\u{1}é");
        assert_eq!(read["cause"], "no \"way\"");
        assert_eq!(read["failure"], "refused");
        assert_eq!(read["client"], "192.0.2.7");
        assert_eq!(line.out.last(), Some(&b'\n'));
    }
}
