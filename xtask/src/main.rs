//! The only task runner of the project: `cargo xtask <task>`.
//!
//! | task | what it does |
//! |---|---|
//! | `test` | installs what tests need, then format check, clippy, tidy, all tests |
//! | `check` | the same without installing anything |
//! | `tidy` | house rules over the tree |
//! | `example NAME` | runs an example from nothing to a probed endpoint and back |
//! | `bench NAME` | measures, beside a peer or a floor, in one run |
//! | `fuzz [TARGET…] [--seconds N]` | throws mutated inputs at the parsers; finds go to `fuzz/artifacts` |
//! | `codegen [--check]` | generated reference pages |
//! | `picture [NAME]` | the pictures of the README, from real runs |
#![expect(
    clippy::disallowed_methods,
    reason = "a developer tool measures real time and reads the real environment"
)]

mod bench;
mod codegen;
mod example;
mod fuzz;
mod picture;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.first().map(String::as_str) {
        Some("test") => test::run(true),
        Some("check") => test::run(false),
        Some("tidy") => tidy::run(),
        Some("example") => example::run(&args[1..]),
        Some("picture") => picture::run(args.get(1).map(String::as_str)),
        Some("bench") => bench::run(&args[1..]),
        Some("fuzz") => fuzz::run(&args[1..]),
        Some("codegen") => codegen::run(args.iter().any(|a| a == "--check")),
        _ => {
            println!(
                "usage: cargo xtask test|check|tidy|example NAME|bench NAME|fuzz [TARGET…] [--seconds N]|fuzz --list|codegen [--check]|picture [NAME]"
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the checkout.
fn root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest
        .parent()
        .context("xtask lies in the workspace")?
        .to_owned())
}

/// Runs a command in the root, saying what it runs; an error when it fails.
fn sh(program: &str, args: &[&str]) -> Result<()> {
    println!("$ {program} {}", args.join(" "));
    let status = Command::new(program)
        .args(args)
        .current_dir(root()?)
        .status()
        .with_context(|| format!("start `{program}`"))?;
    ensure!(
        status.success(),
        "`{program} {}` failed: {status}",
        args.join(" ")
    );
    Ok(())
}

/// Builds the binary and gives its path.
fn build(release: bool) -> Result<PathBuf> {
    let mut args = vec!["build", "--quiet", "-p", "lockgate", "--bin", "lockgate"];
    if release {
        args.push("--release");
    }
    sh("cargo", &args)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root()?.join("target"), PathBuf::from);
    let exe = target
        .join(if release { "release" } else { "debug" })
        .join("lockgate");
    if !exe.is_file() {
        bail!("no binary at {}", exe.display());
    }
    Ok(exe)
}
