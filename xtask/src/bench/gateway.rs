//! `cargo xtask bench gateway [--rounds N] [--large] [--json FILE]`: CPU per request of the
//! gateway with keys, limits and access log, beside plain nginx and nginx with the same policies.
//!
//! Everything runs on loopback, the proxy on CPU 0, load and upstream on CPU 1. Each run stands
//! between two runs of plain nginx, and its figure is the ratio to their mean. Loopback bills the
//! receiver's TCP work to the sender; that is the same for all.

mod configs;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::median;
use crate::root;

const ROUNDS: usize = 5;
const WARM_UP_SECONDS: u32 = 1;
const RUN_SECONDS: u32 = 4;
/// Runs that may be discarded before the bench gives up.
const DISCARDED_MAX: usize = 30;
/// Others may use this share of one CPU during a run.
const OTHERS_MAX: f64 = 0.15;
const STEAL_MAX: f64 = 0.03;
/// How long a run waits for a calm machine.
const CALM_WAIT: Duration = Duration::from_secs(60);
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
    for tool in ["nginx", "wrk", "taskset"] {
        if !on_path(tool) {
            println!(
                "SKIPPED: `{tool}` is missing (Debian: apt install nginx-light wrk util-linux)"
            );
            return Ok(());
        }
    }
    ensure!(
        std::thread::available_parallelism()?.get() >= 2,
        "the bench needs two CPUs: one for the proxy, one for load and upstream"
    );
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
        version("nginx")?
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

/// A child that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; both are fine at the end of a bench.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
            wrk(proxy, load, WARM_UP_SECONDS)?;
            let before = Usage::now(proxy, &self.upstream)?;
            let output = wrk(proxy, load, RUN_SECONDS)?;
            let spent = Usage::now(proxy, &self.upstream)?.since(&before);
            let sample = Sample {
                us_per_request: spent.proxy_us / output.requests,
                requests_per_second: output.requests_per_second,
                p99_ms: output.p99_ms,
            };
            let why = if output.failed {
                Some("answers other than 2xx".to_owned())
            } else {
                spent.disturbed()
            };
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

/// CPU seconds of everybody, as far as the kernel counts them.
struct Usage {
    at: Instant,
    proxy_us: f64,
    upstream_us: f64,
    /// Finished children of ours: the load generator.
    load_us: f64,
    busy_us: f64,
    steal_us: f64,
}

/// The kernel counts these files in hundredths of a second.
const TICK_US: f64 = 10_000.0;

impl Usage {
    fn now(proxy: &Proxy, upstream: &Running) -> Result<Self> {
        let stat = fs_err::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("an empty /proc/stat")?;
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .map(|n| n.parse().unwrap_or(0.0))
            .collect();
        let tick = |at: usize| ticks.get(at).copied().unwrap_or(0.0);
        // user, nice, system, irq, softirq; idle and iowait are not work.
        let busy: f64 = [0, 1, 2, 5, 6].into_iter().map(tick).sum();
        let own = fs_err::read_to_string("/proc/self/stat")?;
        let fields = own.rsplit(')').next().unwrap_or_default();
        let children: f64 = fields
            .split_whitespace()
            .skip(13)
            .take(2)
            .map(|n| n.parse().unwrap_or(0.0))
            .sum();
        Ok(Self {
            at: Instant::now(),
            proxy_us: threads_us(proxy.child.0.id())?,
            upstream_us: threads_us(upstream.0.id())?,
            load_us: children * TICK_US,
            busy_us: busy * TICK_US,
            steal_us: tick(7) * TICK_US,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            at: before.at,
            proxy_us: self.proxy_us - before.proxy_us,
            upstream_us: self.upstream_us - before.upstream_us,
            load_us: self.load_us - before.load_us,
            busy_us: self.busy_us - before.busy_us,
            steal_us: self.steal_us - before.steal_us,
        }
    }

    /// Why a run of this usage does not count.
    fn disturbed(&self) -> Option<String> {
        let wall = self.at.elapsed().as_secs_f64() * 1e6;
        let others =
            (self.busy_us - self.proxy_us - self.upstream_us - self.load_us).max(0.0) / wall;
        let steal = self.steal_us / wall;
        if others > OTHERS_MAX {
            Some(format!("others used {:.0} % of a CPU", others * 100.0))
        } else if steal > STEAL_MAX {
            Some(format!("{:.0} % steal", steal * 100.0))
        } else {
            None
        }
    }
}

/// Time on CPU of all threads of a process, in microseconds.
fn threads_us(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs_err::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs_err::read_to_string(thread?.path().join("schedstat"))?;
        let nanos: f64 = text.split_whitespace().next().unwrap_or("0").parse()?;
        sum += nanos / 1000.0;
    }
    Ok(sum)
}

/// Waits until the machine is nearly idle, for a bounded time.
fn wait_for_calm() -> Result<()> {
    let busy = || -> Result<f64> {
        let stat = fs_err::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("an empty /proc/stat")?;
        let ticks = line.split_whitespace().skip(1);
        let ticks: Vec<f64> = ticks.map(|n| n.parse().unwrap_or(0.0)).collect();
        Ok([0, 1, 2, 5, 6]
            .into_iter()
            .filter_map(|at| ticks.get(at))
            .sum())
    };
    let deadline = Instant::now() + CALM_WAIT;
    loop {
        let before = busy()?;
        let at = Instant::now();
        std::thread::sleep(Duration::from_millis(500));
        let share = (busy()? - before) * TICK_US / (at.elapsed().as_secs_f64() * 1e6);
        if share < 0.10 || Instant::now() > deadline {
            return Ok(());
        }
    }
}

struct Output {
    requests: f64,
    requests_per_second: f64,
    p99_ms: f64,
    failed: bool,
}

/// Runs the load generator on CPU 1.
fn wrk(proxy: &Proxy, load: Load, seconds: u32) -> Result<Output> {
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", "--latency"])
        .arg(format!("-c{}", load.connections))
        .arg(format!("-d{seconds}s"))
        .args([
            "-H",
            "User-Agent: bench/1.0",
            "-H",
            "Accept: application/json",
        ])
        .args(["-H", "Accept-Encoding: gzip"])
        .args(["-H", "Cookie: visitor=0123456789abcdef; theme=dark"])
        .args(["-H", "X-Trace: 4bf92f3577b34da6a3ce929d0e0e4736"])
        .arg("-H")
        .arg(format!("X-Api-Key: {}", proxy.key))
        .arg(format!("http://{}{}", proxy.address, load.path))
        .output()
        .context("run wrk")?;
    ensure!(output.status.success(), "wrk failed: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |line: &str| line.split_whitespace().next()?.parse::<f64>().ok();
    let requests = text
        .lines()
        .find(|l| l.contains(" requests in "))
        .and_then(number)
        .context("wrk printed no count")?;
    let rate = text
        .lines()
        .find_map(|l| l.strip_prefix("Requests/sec:"))
        .and_then(number)
        .context("wrk printed no rate")?;
    let p99 = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("99%"))
        .map(str::trim)
        .context("wrk printed no latency")?;
    Ok(Output {
        requests,
        requests_per_second: rate,
        p99_ms: milliseconds(p99)?,
        failed: text.contains("Non-2xx") || text.contains("Socket errors"),
    })
}

fn milliseconds(text: &str) -> Result<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let value: f64 = digits.parse()?;
    Ok(match &text[digits.len()..] {
        "us" => value / 1000.0,
        "ms" => value,
        "s" => value * 1000.0,
        other => bail!("wrk printed the unit `{other}`"),
    })
}

fn on_path(tool: &str) -> bool {
    Command::new("which")
        .arg(tool)
        .output()
        .is_ok_and(|o| o.status.success())
}

fn version(tool: &str) -> Result<String> {
    let output = Command::new(tool).arg("-v").output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(text
        .trim()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned())
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

fn nginx(folder: &Path, config: &str, cpu: &str) -> Result<Running> {
    let child = Command::new("taskset")
        .args(["-c", cpu, "nginx", "-p"])
        .arg(folder)
        .arg("-c")
        .arg(folder.join(config))
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start nginx with {config}"))?;
    Ok(Running(child))
}

/// Four addresses that are free now.
fn free_addresses() -> Result<[SocketAddr; 4]> {
    let listener = || TcpListener::bind("127.0.0.1:0");
    let all = [listener()?, listener()?, listener()?, listener()?];
    let mut addresses = ["127.0.0.1:0".parse::<SocketAddr>()?; 4];
    for (address, listener) in addresses.iter_mut().zip(&all) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}

fn wait_for(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < deadline, "nothing listens on {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
