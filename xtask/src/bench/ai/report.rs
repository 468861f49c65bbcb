//! What one run of the bench found.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::bench::cpu;
use crate::bench::median;

/// Rounds, faults and versions.
#[derive(Default)]
pub(super) struct Report {
    rounds: Vec<Value>,
    versions: Vec<(String, String)>,
    faults: Vec<String>,
}

impl Report {
    /// Keeps one raw round, with the load of the machine beside it.
    pub(super) fn round(&mut self, mut round: Value) -> Result<()> {
        round["load_average"] = json!(cpu::load_average()?);
        eprintln!("{round}");
        self.rounds.push(round);
        Ok(())
    }

    /// Notes something that makes the run fail at its end.
    pub(super) fn fault(&mut self, what: String) {
        eprintln!("FAULT: {what}");
        self.faults.push(what);
    }

    pub(super) fn version(&mut self, of: &str, version: String) {
        self.versions.push((of.to_owned(), version));
    }

    /// Writes the raw data, and fails if something went wrong on the way.
    pub(super) fn close(self, file: Option<&std::path::Path>) -> Result<()> {
        let versions: Vec<String> = self
            .versions
            .iter()
            .map(|(of, version)| format!("{of} {version}"))
            .collect();
        println!("versions: {}", versions.join(", "));
        let loads = self.rounds.iter().map(|r| r["load_average"].as_f64());
        let loads: Vec<f64> = loads.map(|l| l.unwrap_or(f64::NAN)).collect();
        println!(
            "load average beside the rounds: {}",
            Spread::of(&loads).show(1)
        );
        if let Some(file) = file {
            let raw = json!({"versions": versions, "rounds": self.rounds, "faults": self.faults});
            fs_err::write(file, serde_json::to_vec_pretty(&raw)?)?;
        }
        ensure!(
            self.faults.is_empty(),
            "{} faults: {}",
            self.faults.len(),
            self.faults.join("; ")
        );
        Ok(())
    }
}

/// A median and its range.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub(super) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    pub(super) fn of(values: &[f64]) -> Self {
        Self {
            median: median(values),
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    /// `median (low–high)` with so many decimals.
    pub(super) fn show(&self, decimals: usize) -> String {
        format!(
            "{:.decimals$} ({:.decimals$}–{:.decimals$})",
            self.median, self.low, self.high
        )
    }

    /// The same, marked when the median is over `limit`.
    pub(super) fn show_limited(&self, decimals: usize, limit: f64) -> String {
        let mark = if self.median > limit { " **over**" } else { "" };
        format!("{}{mark}", self.show(decimals))
    }
}
