//! Streams: CPU per relayed event of the node and of nginx without buffering, from one traffic.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lockgate_testkit::vendor as testkit;
use serde_json::json;

use super::completions::{Proxy, Whose};
use super::reader::{Ask, Got, Reader};
use super::report::{Report, Spread};
use super::vendor::{EVENTS_BESIDE, Vendor};
use crate::bench::cpu::{self, Machine};
use crate::bench::servers::{Running, free_addresses, nginx, nginx_head, wait_for};

/// Streams at once.
const STREAMS: usize = 128;
/// Words of a stream; each is an event.
const WORDS: usize = 100;
/// Between two events of a stream: long enough that no two come in one read, even when a busy
/// machine makes a proxy wait for its turn.
const PACE: Duration = Duration::from_millis(20);
/// Streams of one connection, one after the other, in one round.
const REPEATS: usize = 2;
/// Most CPU per event, as a multiple of nginx's.
const LIMIT: f64 = 1.0;

/// The vendor of streams and nginx before it, which passes on without buffering.
pub(super) struct Bed {
    pub(super) vendor: Vendor,
    pub(super) plain: SocketAddr,
    plain_child: Running,
    folder: tempfile::TempDir,
}

impl Bed {
    pub(super) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let vendor = Vendor::start()?;
        let [plain] = free_addresses()?;
        // Its idle connections to the vendor end when ours do: the kernel acknowledges the first
        // stream of a connection more often than later ones.
        let keep = "keepalive_requests 100000000; keepalive_timeout 600s;";
        fs_err::write(
            folder.path().join("plain.conf"),
            format!(
                "{}http {{ server_tokens off; tcp_nodelay on; access_log off; {keep}\n\
                 upstream u {{ server {}; keepalive 256; keepalive_requests 100000000; keepalive_timeout 4s; }}\n\
                 server {{ listen {plain} backlog=8192; location / {{ proxy_pass http://u;\n\
                 proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n",
                nginx_head("plain"),
                vendor.address()
            ),
        )?;
        let plain_child = nginx(folder.path(), "plain.conf", "0")?;
        wait_for(plain)?;
        Ok(Self {
            vendor,
            plain,
            plain_child,
            folder,
        })
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// nginx, which does nothing but pass on.
    pub(super) fn proxy(&self) -> Proxy<'static> {
        Proxy {
            name: "nginx, proxy_buffering off",
            address: self.plain,
            key: testkit::KEY,
            whose: Whose::Tree(self.plain_child.pid()),
        }
    }
}

/// Figures of one proxy and one kind of request.
struct Row<'p> {
    proxy: &'p Proxy<'p>,
    name: String,
    usage: bool,
    us: Vec<f64>,
    sums: Vec<f64>,
    per_read: Vec<f64>,
}

/// Sends the same streams through nginx and two nodes, and prints a table. Each row has a proxy of
/// its own: the kernel gives a connection that was used more often a larger buffer, and then
/// acknowledges at the reader's cost.
pub(super) fn measure(
    plain: &Proxy<'_>,
    [asked, unasked]: [&Proxy<'_>; 2],
    rounds: usize,
    report: &mut Report,
) -> Result<()> {
    let row = |proxy, name: &str, usage| Row {
        proxy,
        name: name.to_owned(),
        usage,
        us: Vec::new(),
        sums: Vec::new(),
        per_read: Vec::new(),
    };
    let mut rows = [
        row(plain, plain.name, true),
        row(asked, asked.name, true),
        row(
            unasked,
            "lockgate, client did not ask for the tokens",
            false,
        ),
    ];
    for round in 0..rounds {
        for row in &mut rows {
            if let Err(error) = sample(row, round, report) {
                report.fault(format!("{}: {error:#}", row.name));
                // Rounds stay beside those of the other rows.
                for figures in [&mut row.us, &mut row.sums, &mut row.per_read] {
                    figures.truncate(round);
                    figures.push(f64::NAN);
                }
            }
        }
    }
    println!(
        "\n| {STREAMS} streams, {} events each, one every {} ms | µs of CPU per event | x nginx | sum with the rest of its process | x nginx | events per read |\n|---|---|---|---|---|---|",
        WORDS + EVENTS_BESIDE + 1,
        PACE.as_millis()
    );
    let of = |values: &[f64]| Spread::of(values);
    let ratio = |values: &[f64]| {
        let ratios: Vec<f64> = values.iter().zip(&rows[0].us).map(|(a, b)| a / b).collect();
        of(&ratios)
    };
    for row in &rows {
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            row.name,
            of(&row.us).show(2),
            match row.proxy.whose {
                Whose::Node(_) => ratio(&row.us).show_limited(2, LIMIT),
                Whose::Tree(_) => "1".to_owned(),
            },
            of(&row.sums).show(2),
            match row.proxy.whose {
                Whose::Node(_) => ratio(&row.sums).show(2),
                Whose::Tree(_) => "1".to_owned(),
            },
            of(&row.per_read).show(2),
        );
    }
    println!("limit {LIMIT} x nginx for the node's workers");
    Ok(())
}

fn sample(row: &mut Row<'_>, round: usize, report: &mut Report) -> Result<()> {
    let ask = Ask {
        words: WORDS,
        pace: PACE,
        usage: row.usage,
    };
    let mut readers = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        readers.push(Reader::connect(row.proxy.address, row.proxy.key)?);
    }
    let before = row.proxy.whose.settled()?;
    let machine = Machine::now()?;
    let got = at_once(readers, ask)?;
    let shares = Machine::now()?.since(&machine, 0.0);
    let after = row.proxy.whose.settled()?;
    let expected = STREAMS * REPEATS * (WORDS + EVENTS_BESIDE + usize::from(row.usage));
    if got.events != expected {
        let what = format!("{}: {} events of {expected}", row.name, got.events);
        report.fault(what);
    }
    let events = got.events as f64;
    let (us, rest) = ((after.0 - before.0) / events, (after.1 - before.1) / events);
    row.us.push(us);
    row.sums.push(us + rest);
    row.per_read.push(events / got.reads as f64);
    report.round(json!({
        "part": "streams",
        "proxy": row.name,
        "round": round,
        "events": got.events,
        "bytes": got.bytes,
        "reads": got.reads,
        "us": us,
        "rest_us": rest,
        "busy_share": shares.others,
        "steal_share": shares.steal,
    }))
}

/// Reads a stream from each connection at once, again and again, each a little later than the one
/// before it.
fn at_once(readers: Vec<Reader>, ask: Ask) -> Result<Got> {
    let ready = Barrier::new(readers.len());
    let count = u32::try_from(readers.len())?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(readers)
            .map(|(at, mut reader)| {
                let ready = &ready;
                scope.spawn(move || -> Result<Got> {
                    cpu::stay_on(1)?;
                    ready.wait();
                    std::thread::sleep(ask.pace * at / count);
                    let mut sum = Got::default();
                    for _ in 0..REPEATS {
                        let got = reader.stream(ask)?;
                        sum.events += got.events;
                        sum.reads += got.reads;
                        sum.bytes += got.bytes;
                    }
                    Ok(sum)
                })
            })
            .collect();
        let mut sum = Got::default();
        for thread in threads {
            let got = thread.join().ok().context("a client panicked")??;
            sum.events += got.events;
            sum.reads += got.reads;
            sum.bytes += got.bytes;
        }
        Ok(sum)
    })
}
