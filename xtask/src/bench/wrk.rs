//! The load generator, on CPU 1.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// What is sent, and how.
pub(super) struct Load<'l> {
    pub(super) cpu: &'l str,
    pub(super) connections: u32,
    pub(super) seconds: u32,
    pub(super) headers: &'l [(&'l str, &'l str)],
    /// A Lua file, for what is no plain GET.
    pub(super) script: Option<&'l Path>,
}

/// What came back.
pub(super) struct Output {
    pub(super) requests: f64,
    pub(super) requests_per_second: f64,
    pub(super) p99_ms: f64,
    /// What went wrong, in wrk's own words.
    pub(super) failed: Option<String>,
}

/// Runs it to its end.
pub(super) fn run(load: &Load<'_>, address: SocketAddr, path: &str) -> Result<Output> {
    let mut command = Command::new("taskset");
    command
        .args(["-c", load.cpu, "wrk", "-t1", "--latency"])
        .arg(format!("-c{}", load.connections))
        .arg(format!("-d{}s", load.seconds));
    for (name, value) in load.headers {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    if let Some(script) = load.script {
        command.arg("-s").arg(script);
    }
    let output = command
        .arg(format!("http://{address}{path}"))
        .output()
        .context("run wrk")?;
    ensure!(output.status.success(), "wrk failed: {output:?}");
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> Result<Output> {
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
    let bad = |l: &&str| l.contains("Non-2xx") || l.contains("Socket errors");
    let failed: Vec<&str> = text.lines().filter(bad).map(str::trim).collect();
    Ok(Output {
        requests,
        requests_per_second: rate,
        p99_ms: milliseconds(p99)?,
        failed: (!failed.is_empty()).then(|| failed.join("; ")),
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
