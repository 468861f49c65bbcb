//! Time to the first event at low load, through each proxy and without one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::reader::{Ask, Reader};
use super::report::{Report, Spread};
use crate::bench::cpu;

/// A short stream: what is measured is its start.
const ASK: Ask = Ask {
    words: 4,
    pace: Duration::from_millis(1),
    usage: true,
};
/// Streams at once.
const AT_ONCE: [usize; 2] = [1, 4];
/// Streams of one round and way.
const SAMPLES: usize = 400;
/// LiteLLM takes longer for one.
const SAMPLES_SLOW: usize = 100;
/// Streams before a round, whose times do not count.
const WARM_UP: usize = 20;
/// Most added time, in milliseconds.
const LIMIT_MS: f64 = 0.5;

/// A way to the vendor.
pub(super) struct Way<'w> {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) key: &'w str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No proxy, or one beside ours.
    Peer,
    SlowPeer,
    Own,
}

/// Measures every way and prints a table. The first way is the one without a proxy.
pub(super) fn measure(ways: &[Way<'_>], rounds: usize, report: &mut Report) -> Result<()> {
    println!(
        "\n| first event | streams at once | p50 ms | added at p50 | p99 ms | added at p99 |\n|---|---|---|---|---|---|"
    );
    for at_once in AT_ONCE {
        let mut times: Vec<(Vec<f64>, Vec<f64>)> =
            ways.iter().map(|_| Default::default()).collect();
        for round in 0..rounds {
            for (way, times) in ways.iter().zip(&mut times) {
                let (p50, p99) = match sample(way, at_once) {
                    Ok(sorted) => (part(&sorted, 0.50), part(&sorted, 0.99)),
                    Err(error) => {
                        report.fault(format!("{}: {error:#}", way.name));
                        (f64::NAN, f64::NAN)
                    }
                };
                times.0.push(p50);
                times.1.push(p99);
                report.round(json!({
                    "part": "first-event",
                    "way": way.name,
                    "round": round,
                    "streams_at_once": at_once,
                    "p50_ms": p50,
                    "p99_ms": p99,
                }))?;
            }
        }
        let added = |of: &[f64], from: &[f64]| {
            let added: Vec<f64> = of.iter().zip(from).map(|(a, b)| a - b).collect();
            Spread::of(&added)
        };
        let direct = &times[0];
        for (way, (p50, p99)) in ways.iter().zip(&times) {
            let show = |added: Spread| match way.kind {
                Kind::Own => added.show_limited(3, LIMIT_MS),
                Kind::Peer | Kind::SlowPeer => added.show(3),
            };
            println!(
                "| {} | {at_once} | {} | {} | {} | {} |",
                way.name,
                Spread::of(p50).show(3),
                show(added(p50, &direct.0)),
                Spread::of(p99).show(3),
                show(added(p99, &direct.1)),
            );
        }
    }
    println!("limit {LIMIT_MS} ms added by the node");
    Ok(())
}

/// Times to the first event in milliseconds, sorted.
fn sample(way: &Way<'_>, at_once: usize) -> Result<Vec<f64>> {
    let samples = if way.kind == Kind::SlowPeer {
        SAMPLES_SLOW
    } else {
        SAMPLES
    };
    let mut readers = Vec::with_capacity(at_once);
    for _ in 0..at_once {
        readers.push(Reader::connect(way.address, way.key)?);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                scope.spawn(move || -> Result<Vec<f64>> {
                    cpu::stay_on(1)?;
                    let mut times = Vec::with_capacity(samples / at_once);
                    for at in 0..WARM_UP + samples / at_once {
                        let got = reader.stream(ASK)?;
                        if at >= WARM_UP {
                            times.push(got.first.as_secs_f64() * 1000.0);
                        }
                    }
                    Ok(times)
                })
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().ok().context("a client panicked")??);
        }
        all.sort_by(f64::total_cmp);
        Ok(all)
    })
}

/// The value below which `share` of the sorted values lie.
fn part(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    let at = at.min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
