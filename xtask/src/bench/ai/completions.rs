//! Whole completions: CPU per request, rate and p99 of each proxy, from one load.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lockgate_testkit::vendor;
use serde_json::json;

use super::node::Node;
use super::report::{Report, Spread};
use crate::bench::cpu::{self, Machine};
use crate::bench::servers::{Running, free_addresses, nginx, nginx_head, wait_for};
use crate::bench::wrk;

/// Where completions are, at every proxy.
pub(super) const PATH: &str = "/v1/chat/completions";
/// Most CPU per completion, in microseconds.
const LIMIT_US: f64 = 30.0;
/// Bytes of the prompt: the whole body is about 0.8 KB.
const PROMPT_BYTES: usize = 700;
/// Words of the answer: its body is about 1 KB.
const WORDS: usize = 170;
/// The vendor alone must hold so many times the rate of a proxy; else that rate is the vendor's.
const HEADROOM: f64 = 3.0;

/// How hard the proxies are driven.
#[derive(Clone, Copy)]
pub(super) struct Drive {
    pub(super) connections: u32,
    pub(super) seconds: u32,
}

const WARM_UP_SECONDS: u32 = 1;

/// A proxy, and whose CPU is its.
pub(super) struct Proxy<'p> {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) key: &'p str,
    pub(super) whose: Whose<'p>,
}

pub(super) enum Whose<'p> {
    Node(&'p Node),
    /// A process and those it started.
    Tree(u32),
}

impl Whose<'_> {
    /// Microseconds of what answers, and of the rest.
    fn now(&self) -> Result<(f64, f64)> {
        match self {
            Self::Node(node) => node.spent().map(|s| (s.workers_us, s.rest_us)),
            Self::Tree(pid) => Ok((cpu::tree_us(*pid)?, 0.0)),
        }
    }

    /// The same, once nothing of the work is left.
    pub(super) fn settled(&self) -> Result<(f64, f64)> {
        match self {
            Self::Node(node) => node.settled().map(|s| (s.workers_us, s.rest_us)),
            Self::Tree(_) => self.now(),
        }
    }
}

/// The vendor and the floor, both nginx.
pub(super) struct Floor {
    pub(super) vendor: SocketAddr,
    pub(super) plain: SocketAddr,
    vendor_child: Running,
    plain_child: Running,
    folder: tempfile::TempDir,
}

impl Floor {
    pub(super) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = folder.path();
        let [vendor, plain] = free_addresses()?;
        let keep = "keepalive_requests 100000000; keepalive_timeout 600s;";
        let answer = answer();
        fs_err::write(
            at.join("vendor.conf"),
            format!(
                "{}http {{ access_log off; {keep}\n server {{ listen {vendor} backlog=8192;\n\
                 location = {PATH} {{ default_type application/json; return 200 '{answer}'; }} }} }}\n",
                nginx_head("vendor")
            ),
        )?;
        fs_err::write(
            at.join("plain.conf"),
            format!(
                "{}http {{ server_tokens off; tcp_nodelay on; access_log off; {keep}\n\
                 upstream u {{ server {vendor}; keepalive 256; {keep} }}\n\
                 server {{ listen {plain} backlog=8192; location / {{ proxy_pass http://u;\n\
                 proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n",
                nginx_head("plain")
            ),
        )?;
        let vendor_child = nginx(at, "vendor.conf", "1")?;
        let plain_child = nginx(at, "plain.conf", "0")?;
        wait_for(vendor)?;
        wait_for(plain)?;
        Ok(Self {
            vendor,
            plain,
            vendor_child,
            plain_child,
            folder,
        })
    }

    /// The base URL of the vendor's API.
    pub(super) fn url(&self) -> String {
        format!("http://{}/v1", self.vendor)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// nginx as a proxy, which does nothing but pass on.
    pub(super) fn proxy(&self) -> Proxy<'static> {
        Proxy {
            name: "nginx, plain proxy",
            address: self.plain,
            key: vendor::KEY,
            whose: Whose::Tree(self.plain_child.pid()),
        }
    }

    /// Requests a second that the vendor holds with no proxy and the load on the other CPU.
    fn alone(&self, drive: Drive, report: &mut Report) -> Result<f64> {
        let script = self.script(vendor::KEY, "vendor")?;
        let load = wrk::Load {
            cpu: "0",
            connections: drive.connections,
            seconds: drive.seconds,
            headers: &[],
            script: Some(&script),
        };
        let output = wrk::run(&load, self.vendor, PATH)?;
        if let Some(what) = output.failed {
            report.fault(format!("the vendor alone: {what}"));
        }
        report.round(
            json!({"part": "vendor alone", "requests_per_second": output.requests_per_second}),
        )?;
        Ok(output.requests_per_second)
    }

    /// The file that tells the load generator what to send.
    fn script(&self, key: &str, name: &str) -> Result<PathBuf> {
        let file = self.folder().join(format!("{name}.lua"));
        let body = body();
        let text = format!(
            "wrk.method = \"POST\"\nwrk.body = [==[{body}]==]\n\
             wrk.headers[\"Content-Type\"] = \"application/json\"\n\
             wrk.headers[\"Authorization\"] = \"Bearer {key}\"\n"
        );
        fs_err::write(&file, text)?;
        Ok(file)
    }
}

/// A request of about 0.8 KB.
pub(super) fn body() -> String {
    json!({"model": "fast", "max_tokens": 256,
        "messages": [{"role": "user", "content": "x".repeat(PROMPT_BYTES)}]})
    .to_string()
}

/// An answer of about 1 KB.
fn answer() -> String {
    json!({"id": "chatcmpl-bench", "object": "chat.completion", "created": 1_790_000_000,
        "model": "test-small",
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": "token".repeat(WORDS)}}],
        "usage": {"prompt_tokens": 180, "completion_tokens": WORDS, "total_tokens": 180 + WORDS}})
    .to_string()
}

/// One run.
struct Sample {
    us: f64,
    rest_us: f64,
    requests_per_second: f64,
    p99_ms: f64,
}

/// Drives every proxy once a round and prints a table.
pub(super) fn measure(
    floor: &Floor,
    proxies: &[Proxy<'_>],
    drive: Drive,
    rounds: usize,
    report: &mut Report,
) -> Result<()> {
    let mut alone = floor.alone(drive, report)?;
    let mut samples: Vec<Vec<Sample>> = proxies.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (proxy, samples) in proxies.iter().zip(&mut samples) {
            samples.push(sample(floor, proxy, drive, round, report)?);
        }
    }
    // The better of two: other work on the machine must not look like a slow vendor.
    alone = alone.max(floor.alone(drive, report)?);
    println!(
        "\n| completions, {} connections | µs of CPU each | rest of its process | sum | requests/s | p99 ms |\n|---|---|---|---|---|---|",
        drive.connections
    );
    for (proxy, samples) in proxies.iter().zip(&samples) {
        println!("{}", line(proxy, samples, alone));
    }
    println!(
        "limit {LIMIT_US} µs for the node's workers; the vendor alone holds {alone:.0} requests/s"
    );
    Ok(())
}

fn sample(
    floor: &Floor,
    proxy: &Proxy<'_>,
    drive: Drive,
    round: usize,
    report: &mut Report,
) -> Result<Sample> {
    let script = floor.script(proxy.key, "proxy")?;
    let mut load = wrk::Load {
        cpu: "1",
        connections: drive.connections,
        seconds: WARM_UP_SECONDS,
        headers: &[],
        script: Some(&script),
    };
    wrk::run(&load, proxy.address, PATH)?;
    load.seconds = drive.seconds;
    let before = proxy.whose.settled()?;
    let vendor = cpu::threads_us(floor.vendor_child.pid())?;
    let machine = Machine::now()?;
    let output = wrk::run(&load, proxy.address, PATH)?;
    let answered = proxy.whose.now()?;
    let vendor = cpu::threads_us(floor.vendor_child.pid())? - vendor;
    let ours = answered.0 + answered.1 - before.0 - before.1 + vendor;
    let shares = Machine::now()?.since(&machine, ours);
    let after = proxy.whose.settled()?;
    let sample = Sample {
        us: (after.0 - before.0) / output.requests,
        rest_us: (after.1 - before.1) / output.requests,
        requests_per_second: output.requests_per_second,
        p99_ms: output.p99_ms,
    };
    if let Some(what) = output.failed {
        report.fault(format!("{}: {what}", proxy.name));
    }
    report.round(json!({
        "part": "completions",
        "proxy": proxy.name,
        "round": round,
        "connections": drive.connections,
        "requests": output.requests,
        "us": sample.us,
        "rest_us": sample.rest_us,
        "vendor_us": vendor / output.requests,
        "requests_per_second": sample.requests_per_second,
        "p99_ms": sample.p99_ms,
        "others_share": shares.others,
        "steal_share": shares.steal,
    }))?;
    Ok(sample)
}

fn line(proxy: &Proxy<'_>, samples: &[Sample], alone: f64) -> String {
    let of = |f: fn(&Sample) -> f64| Spread::of(&samples.iter().map(f).collect::<Vec<_>>());
    let own = of(|s| s.us);
    let mut line = format!("| {} | ", proxy.name);
    let _ = match proxy.whose {
        Whose::Node(_) => write!(
            line,
            "{} | {} | {} | ",
            own.show_limited(1, LIMIT_US),
            of(|s| s.rest_us).show(1),
            of(|s| s.us + s.rest_us).show(1)
        ),
        Whose::Tree(_) => write!(line, "{} | – | {:.1} | ", own.show(1), own.median),
    };
    let rate = of(|s| s.requests_per_second);
    let bound = if alone < HEADROOM * rate.median {
        " (mock-bound)"
    } else {
        ""
    };
    let _ = write!(
        line,
        "{:.0}{bound} | {} |",
        rate.median,
        of(|s| s.p99_ms).show(2)
    );
    line
}
