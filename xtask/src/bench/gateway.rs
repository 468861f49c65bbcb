//! `cargo xtask bench gateway [--rounds N] [--large] [--json FILE]`: CPU per request of the
//! gateway with keys, limits and access log, beside plain nginx and nginx with the same policies.
//!
//! Everything runs on loopback, the proxy on CPU 0, load and upstream on CPU 1. Each run stands
//! between two runs of plain nginx, and its figure is the ratio to their mean. Loopback bills the
//! receiver's TCP work to the sender; that is the same for all.

mod configs;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::cpu::{Machine, Shares, threads_us, wait_for_calm};
use super::servers::{Running, free_addresses, has_tools_and_cpus, nginx, nginx_version, wait_for};
use super::{median, wrk};
use crate::root;

const ROUNDS: usize = 5;
const WARM_UP_SECONDS: u32 = 1;
const RUN_SECONDS: u32 = 4;
/// Runs that may be discarded before the bench gives up.
const DISCARDED_MAX: usize = 30;
/// Others may use this share of one CPU during a run.
const OTHERS_MAX: f64 = 0.15;
const STEAL_MAX: f64 = 0.03;
/// The must line of gateway.md, section 4.1, and of the first version's issue.
const LIMIT: f64 = 1.0;

const NGINX_KEY: &str = "key-004242-abcdefghijklmnop";

/// What is asked for.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    path: &'static str,
    connections: u32,
}

const SMALL: Load = Load {
    name: "1 KB replies",
    path: "/svc042/hello",
    connections: 64,
};
const LARGE: Load = Load {
    name: "1 MB replies",
    path: "/svc042/1m",
    connections: 16,
};

struct Settings {
    rounds: usize,
    loads: Vec<Load>,
    json: Option<PathBuf>,
}

/// Measures and prints a table.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let settings = parse(args)?;
    if !has_tools_and_cpus()? {
        return Ok(());
    }
    let bench = Bench::start()?;
    let mut table = String::from(
        "| load | proxy | us CPU per request | x plain nginx (range) | req/s | p99 |\n|---|---|---|---|---|---|\n",
    );
    let mut raw = Vec::new();
    let mut over = false;
    for load in &settings.loads {
        let rows = bench.measure(*load, settings.rounds, &mut raw)?;
        for row in &rows {
            let _ = writeln!(table, "{}", row.line(load));
        }
        over |= load.name == SMALL.name && rows.last().is_some_and(|r| median(&r.ratios) > LIMIT);
    }
    println!("{table}");
    println!(
        "nginx {}; upstream is nginx `return 200`; every run, also the discarded ones, is in the raw JSON",
        nginx_version()?
    );
    if let Some(path) = settings.json {
        fs_err::write(&path, serde_json::to_vec_pretty(&raw)?)?;
    }
    ensure!(!over, "CPU per request is above {LIMIT} x plain nginx");
    Ok(())
}

fn parse(args: &[String]) -> Result<Settings> {
    let mut settings = Settings {
        rounds: ROUNDS,
        loads: vec![SMALL],
        json: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => {
                settings.rounds = args.next().context("--rounds needs a number")?.parse()?;
            }
            "--large" => settings.loads.push(LARGE),
            "--json" => settings.json = args.next().map(PathBuf::from),
            other => bail!("unknown flag `{other}`; there are: --rounds N, --large, --json FILE"),
        }
    }
    Ok(settings)
}

/// A proxy under test.
struct Proxy {
    name: &'static str,
    address: SocketAddr,
    key: String,
    child: Running,
}

struct Bench {
    upstream: Running,
    plain: Proxy,
    others: Vec<Proxy>,
    _folder: tempfile::TempDir,
}

/// One accepted run.
#[derive(Clone, Copy)]
struct Sample {
    us_per_request: f64,
    requests_per_second: f64,
    p99_ms: f64,
}

struct Row {
    name: &'static str,
    samples: Vec<Sample>,
    ratios: Vec<f64>,
}

impl Row {
    fn line(&self, load: &Load) -> String {
        let of = |f: fn(&Sample) -> f64| median(&self.samples.iter().map(f).collect::<Vec<_>>());
        let low = self.ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.ratios.iter().copied().fold(0.0, f64::max);
        format!(
            "| {} | {} | {:.2} | {:.2} ({low:.2}–{high:.2}, n={}) | {:.0} | {:.2} ms |",
            load.name,
            self.name,
            of(|s| s.us_per_request),
            median(&self.ratios),
            self.ratios.len(),
            of(|s| s.requests_per_second),
            of(|s| s.p99_ms),
        )
    }
}

impl Bench {
    fn start() -> Result<Self> {
        let example = build_example()?;
        let folder = tempfile::tempdir()?;
        let at = folder.path();
        let [up, plain, policy, own] = free_addresses()?;
        configs::write_configs(at, up, plain, policy)?;
        let upstream = nginx(at, "up.conf", "1")?;
        let plain_child = nginx(at, "plain.conf", "0")?;
        let policy_child = nginx(at, "policy.conf", "0")?;
        let (own_child, key) = gateway(&example, at, own, up)?;
        for address in [up, plain, policy] {
            wait_for(address)?;
        }
        let proxy = |name, address, key: &str, child| Proxy {
            name,
            address,
            key: key.to_owned(),
            child,
        };
        Ok(Self {
            upstream,
            plain: proxy("nginx plain", plain, NGINX_KEY, plain_child),
            others: vec![
                proxy("nginx + policies", policy, NGINX_KEY, policy_child),
                proxy("lockgate + policies", own, &key, own_child),
            ],
            _folder: folder,
        })
    }

    /// Runs `rounds` rounds of plain, X, plain, Y, plain.
    fn measure(
        &self,
        load: Load,
        rounds: usize,
        raw: &mut Vec<serde_json::Value>,
    ) -> Result<Vec<Row>> {
        let mut discarded = 0;
        let mut take = |proxy: &Proxy| self.sample(proxy, load, &mut discarded, raw);
        let row = |name| Row {
            name,
            samples: Vec::new(),
            ratios: Vec::new(),
        };
        let mut plain = row(self.plain.name);
        let mut rows: Vec<Row> = self.others.iter().map(|p| row(p.name)).collect();
        let mut before = take(&self.plain)?;
        plain.samples.push(before);
        for round in 0..rounds {
            for (proxy, row) in self.others.iter().zip(&mut rows) {
                let sample = take(proxy)?;
                let after = take(&self.plain)?;
                let reference = (before.us_per_request + after.us_per_request) / 2.0;
                row.ratios.push(sample.us_per_request / reference);
                row.samples.push(sample);
                plain.samples.push(after);
                plain
                    .ratios
                    .push(after.us_per_request / before.us_per_request);
                before = after;
                eprintln!(
                    "{} round {}: {} {:.2} us/req, nginx {reference:.2}",
                    load.name,
                    round + 1,
                    proxy.name,
                    sample.us_per_request
                );
            }
        }
        rows.insert(0, plain);
        Ok(rows)
    }

    /// One run that was not disturbed.
    fn sample(
        &self,
        proxy: &Proxy,
        load: Load,
        discarded: &mut usize,
        raw: &mut Vec<serde_json::Value>,
    ) -> Result<Sample> {
        loop {
            wait_for_calm()?;
            send(proxy, load, WARM_UP_SECONDS)?;
            let before = Usage::now(proxy, &self.upstream)?;
            let output = send(proxy, load, RUN_SECONDS)?;
            let (proxy_us, shares) = Usage::now(proxy, &self.upstream)?.since(&before);
            let sample = Sample {
                us_per_request: proxy_us / output.requests,
                requests_per_second: output.requests_per_second,
                p99_ms: output.p99_ms,
            };
            let why = output.failed.or_else(|| disturbed(shares));
            raw.push(serde_json::json!({
                "load": load.name,
                "proxy": proxy.name,
                "us_per_request": sample.us_per_request,
                "requests_per_second": sample.requests_per_second,
                "p99_ms": sample.p99_ms,
                "discarded": why,
            }));
            let Some(why) = why else { return Ok(sample) };
            eprintln!("discarded a run of {}: {why}", proxy.name);
            *discarded += 1;
            ensure!(
                *discarded <= DISCARDED_MAX,
                "more than {DISCARDED_MAX} runs discarded: the machine is too busy"
            );
        }
    }
}

/// CPU of everybody.
struct Usage {
    proxy_us: f64,
    upstream_us: f64,
    machine: Machine,
}

impl Usage {
    fn now(proxy: &Proxy, upstream: &Running) -> Result<Self> {
        Ok(Self {
            proxy_us: threads_us(proxy.child.pid())?,
            upstream_us: threads_us(upstream.pid())?,
            machine: Machine::now()?,
        })
    }

    /// What the proxy used since, in microseconds, and what everybody else did.
    fn since(&self, before: &Self) -> (f64, Shares) {
        let proxy_us = self.proxy_us - before.proxy_us;
        let ours = proxy_us + self.upstream_us - before.upstream_us;
        (proxy_us, self.machine.since(&before.machine, ours))
    }
}

/// Why a run with these shares does not count.
fn disturbed(shares: Shares) -> Option<String> {
    if shares.others > OTHERS_MAX {
        Some(format!(
            "others used {:.0} % of a CPU",
            shares.others * 100.0
        ))
    } else if shares.steal > STEAL_MAX {
        Some(format!("{:.0} % steal", shares.steal * 100.0))
    } else {
        None
    }
}

/// Sends a load to a proxy.
fn send(proxy: &Proxy, load: Load, seconds: u32) -> Result<wrk::Output> {
    let headers = [
        ("User-Agent", "bench/1.0"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "gzip"),
        ("Cookie", "visitor=0123456789abcdef; theme=dark"),
        ("X-Trace", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("X-Api-Key", &proxy.key),
    ];
    let load_of = wrk::Load {
        cpu: "1",
        connections: load.connections,
        seconds,
        headers: &headers,
        script: None,
    };
    wrk::run(&load_of, proxy.address, load.path)
}

fn build_example() -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--release", "-p", "lockgate-gateway"])
        .args(["--example", "gateway_bench"])
        .current_dir(root()?)
        .status()?;
    ensure!(status.success(), "the gateway's example does not build");
    Ok(root()?.join("target/release/examples/gateway_bench"))
}

fn gateway(
    example: &Path,
    folder: &Path,
    address: SocketAddr,
    upstream: SocketAddr,
) -> Result<(Running, String)> {
    let mut child = Running(
        Command::new("taskset")
            .args(["-c", "0"])
            .arg(example)
            .args([address.to_string(), upstream.to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the gateway")?,
    );
    let stdout = child.0.stdout.take().context("the gateway's output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let key = line
        .strip_prefix("ready ")
        .context("the gateway did not start")?;
    Ok((child, key.trim().to_owned()))
}
