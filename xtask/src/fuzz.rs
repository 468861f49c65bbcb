//! `cargo xtask fuzz`: builds the fuzz targets with coverage counters and runs each for a while.
//!
//! The engine is libFuzzer, linked by the `fuzz/` package itself, and the counters are an option
//! of the compiler that every toolchain has: neither a nightly one nor another program is needed,
//! only a C++ compiler.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};

use crate::root;

/// Seconds for each target unless said otherwise: enough to see that nothing is on the surface.
const SECONDS: u32 = 20;
/// A single input that takes longer is a find.
const INPUT_SECONDS_MAX: u32 = 10;
/// A process that needs more memory is a find.
const MEMORY_MIB_MAX: u32 = 2048;
/// Lines of the engine's talk that tell of a find.
const FIND: [&str; 4] = [PANIC, "ERROR: ", "SUMMARY: ", "Test unit written"];
const PANIC: &str = "panicked at";
/// Lines of a panic's message that are shown.
const PANIC_LINES: usize = 12;

/// Counts edges and compared values, which is what the engine steers by.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What a run of one target told.
struct Told {
    target: String,
    runs: u64,
    per_second: u64,
    coverage: u64,
    /// Inputs kept because they reached something new.
    kept: u64,
    good: bool,
}

/// `[TARGET…] [--seconds N] [--list]`; without a target all run, one after the other.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let home = root()?.join("fuzz");
    let known = targets(&home)?;
    let mut wanted = Vec::new();
    let mut seconds = SECONDS;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => {
                known.iter().for_each(|target| println!("{target}"));
                return Ok(());
            }
            "--seconds" => {
                let number = args.next().context("`--seconds` wants a number")?;
                seconds = number
                    .parse()
                    .with_context(|| format!("seconds `{number}`"))?;
            }
            name if known.iter().any(|target| target == name) => wanted.push(name.to_owned()),
            name => bail!("no target `{name}`; `cargo xtask fuzz --list` names them"),
        }
    }
    let wanted = if wanted.is_empty() { known } else { wanted };
    let programs = build(&home, &wanted)?;
    let mut told = Vec::new();
    for target in &wanted {
        told.push(fuzz(&home, &programs, target, seconds)?);
    }
    println!("\n| target | runs | runs/s | edges | kept | finds |");
    println!("|---|---|---|---|---|---|");
    for t in &told {
        let finds = if t.good { "none" } else { "**yes**" };
        println!(
            "| {} | {} | {} | {} | {} | {finds} |",
            t.target, t.runs, t.per_second, t.coverage, t.kept
        );
    }
    let bad = told.iter().filter(|t| !t.good).count();
    ensure!(
        bad == 0,
        "{bad} targets with a find; the inputs lie in fuzz/artifacts"
    );
    Ok(())
}

/// The names of all targets.
pub(crate) fn targets(home: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(home.join("src/bin"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            let name = path.file_stem().and_then(|n| n.to_str());
            names.push(name.context("a target's name is ASCII")?.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds the targets; gives the folder that holds their programs.
fn build(home: &Path, targets: &[String]) -> Result<PathBuf> {
    let host = host()?;
    let target_folder = home.join("target");
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "--target", &host])
        .current_dir(home)
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", &target_folder);
    for target in targets {
        command.args(["--bin", target]);
    }
    println!("$ cargo build, {} targets with coverage", targets.len());
    let status = command.status().context("start `cargo`")?;
    ensure!(status.success(), "the targets do not build: {status}");
    Ok(target_folder.join(host).join("release"))
}

/// With a named target, build scripts and macros are compiled without counters.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("start `rustc`")?;
    let text = String::from_utf8(output.stdout).context("the version of `rustc`")?;
    let line = text.lines().find_map(|l| l.strip_prefix("host: "));
    Ok(line.context("`rustc -vV` names no host")?.to_owned())
}

fn fuzz(home: &Path, programs: &Path, target: &str, seconds: u32) -> Result<Told> {
    let corpus = home.join("corpus").join(target);
    let artifacts = home.join("artifacts").join(target);
    fs_err::create_dir_all(&corpus)?;
    fs_err::create_dir_all(&artifacts)?;
    let dictionary = home.join("dictionaries").join(format!("{target}.dict"));
    let mut command = Command::new(programs.join(target));
    command
        .current_dir(home)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        .env("RUST_BACKTRACE", "0");
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // New inputs go to the first folder; the committed ones are only read.
    command.arg(corpus).arg(home.join("seeds").join(target));
    println!("$ fuzz {target} for {seconds} s");
    let output = command
        .output()
        .with_context(|| format!("start `{target}`"))?;
    Ok(read(target, &output))
}

/// Reads the engine's talk.
fn read(target: &str, output: &Output) -> Told {
    let text = String::from_utf8_lossy(&output.stderr);
    let number = |name: &str| {
        let line = text.lines().rev().find_map(|l| l.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    let coverage = text
        .lines()
        .rev()
        .find_map(|line| line.split_once("cov: "))
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    let good = output.status.success();
    if !good {
        let told = |line: &&str| FIND.iter().any(|mark| line.contains(mark));
        let mut lines = text.lines();
        while let Some(line) = lines.find(told) {
            println!("{line}");
            if line.contains(PANIC) {
                lines
                    .by_ref()
                    .take(PANIC_LINES)
                    .for_each(|line| println!("{line}"));
            }
        }
        println!("{target}: {}", output.status);
    }
    Told {
        target: target.to_owned(),
        runs: number("stat::number_of_executed_units:"),
        per_second: number("stat::average_exec_per_sec:"),
        coverage: coverage.unwrap_or(0),
        kept: number("stat::new_units_added:"),
        good,
    }
}
