//! `cargo xtask bench NAME`: measures in one run, beside a peer or a floor.

mod ai;
mod cpu;
mod gateway;
mod ledger;
mod programs;
mod quickstart;
mod servers;
mod wrk;

use anyhow::{Context as _, Result, bail};

/// Runs one bench.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let name = args
        .first()
        .context("which bench? `quickstart`, `gateway`, `ai`, `ledger`, `programs`")?;
    match name.as_str() {
        "ai" => ai::run(&args[1..]),
        "gateway" => gateway::run(&args[1..]),
        "ledger" => ledger::run(&args[1..]),
        "programs" => programs::run(&args[1..]),
        "quickstart" => quickstart::run(&args[1..]),
        "context" => crate::sh(
            "cargo",
            &[
                "run",
                "--release",
                "--quiet",
                "-p",
                "lockgate-image",
                "--example",
                "context_bench",
            ],
        ),
        other => bail!(
            "no bench `{other}`; there are: quickstart, context, gateway, ai, ledger, programs"
        ),
    }
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
