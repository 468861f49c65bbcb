//! A steady stream of requests beside a change, to count what a switch loses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http::Client;

/// What the stream saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Answers with status 200.
    pub good: u64,
    /// Everything else, with the first few reasons.
    pub bad: u64,
    /// The first few failures in words.
    pub reasons: Vec<String>,
    /// Different bodies in order of their first appearance.
    pub bodies: Vec<String>,
    /// When each of `bodies` was seen first, from the start of the stream.
    pub first_seen: Vec<Duration>,
}

/// A running stream; [`Steady::stop`] ends it.
#[derive(Debug)]
pub struct Steady {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Steady {
    /// Starts `per_second` GETs of `path` at `address` on one kept connection, reopened when the
    /// server closes it between answers.
    pub fn start(address: String, path: String, key: String, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || run(&flag, &address, &path, &key, per_second));
        Self { stop, thread }
    }

    /// Ends the stream and gives what it saw.
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn run(stop: &AtomicBool, address: &str, path: &str, key: &str, per_second: u32) -> Seen {
    let mut seen = Seen::default();
    let start = Instant::now();
    let pause = Duration::from_secs(1) / per_second.max(1);
    let mut client = None;
    let mut sent = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let due = start + pause * sent;
        std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
        sent += 1;
        let outcome = match client.take() {
            Some(client) => Ok(client),
            None => Client::connect(address),
        }
        .and_then(|mut c| c.get(path, &[("x-api-key", key)]).map(|answer| (c, answer)));
        match outcome {
            Ok((kept, answer)) if answer.status == 200 => {
                seen.good += 1;
                if answer.header("connection") != Some("close") {
                    client = Some(kept);
                }
                if !seen.bodies.contains(&answer.body) {
                    seen.bodies.push(answer.body);
                    seen.first_seen.push(start.elapsed());
                }
            }
            Ok((_, answer)) => note(
                &mut seen,
                format!("status {}: {}", answer.status, answer.body),
            ),
            Err(error) => note(&mut seen, format!("{error:#}")),
        }
    }
    seen
}

fn note(seen: &mut Seen, reason: String) {
    seen.bad += 1;
    if seen.reasons.len() < 5 {
        seen.reasons.push(reason);
    }
}
