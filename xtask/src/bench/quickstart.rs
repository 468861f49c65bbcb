//! `cargo xtask bench quickstart`: the figures of the first path, medians of several rounds.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::{World, example, http, load::Steady, world::wait_until};

use super::median;
use crate::{build, root};

/// Rounds whose median is reported.
const ROUNDS: usize = 5;

/// Resources of the large program.
const RESOURCES: usize = 5000;

struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    limit: f64,
}

/// Measures and prints a table.
pub(crate) fn run(_args: &[String]) -> Result<()> {
    let exe = build(true)?;
    let mut rows = Vec::new();
    let size = fs_err::metadata(&exe)?.len();
    rows.push(Row {
        name: "release binary",
        value: mib(size),
        unit: "MiB",
        limit: 40.0,
    });
    rows.push(Row {
        name: "lockgate version",
        value: version(&exe)?,
        unit: "ms",
        limit: 10.0,
    });
    hello(&exe, &mut rows)?;
    random(&exe, &mut rows)?;
    let mut table = String::from("| figure | median | limit |\n|---|---|---|\n");
    for row in &rows {
        let mark = if row.value <= row.limit {
            ""
        } else {
            " **over**"
        };
        let _ = writeln!(
            table,
            "| {} | {:.2} {}{mark} | {} {} |",
            row.name, row.value, row.unit, row.limit, row.unit
        );
    }
    println!("{table}");
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes are shown with two digits"
)]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn version(exe: &Path) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        Command::new(exe).arg("version").output()?;
        times.push(millis(start.elapsed()));
    }
    Ok(median(&times))
}

fn hello(exe: &Path, rows: &mut Vec<Row>) -> Result<()> {
    let world = World::with_project(exe, &root()?.join("examples/hello"))?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(world.run(&["up", "--yes"])?.expect(0)?.time.as_secs_f64());
    }
    rows.push(Row {
        name: "no-op up of hello",
        value: median(&times),
        unit: "s",
        limit: 0.4,
    });
    let (url, key) = example::endpoint(&world)?;
    let status = world
        .run(&["node", "status", "--json"])?
        .expect(0)?
        .json()?;
    let pid = status["pid"].as_u64().context("the node's pid")?;
    let rss = rss_mib(u32::try_from(pid)?)?;
    rows.push(Row {
        name: "node with one service, RSS",
        value: rss,
        unit: "MiB",
        limit: 30.0,
    });
    let source = fs_err::read_to_string(world.project().join("main.rs"))?;
    let (address, path) = url
        .trim_start_matches("http://")
        .split_once('/')
        .context("a URL with a path")?;
    let (mut beyond, mut failed) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let word = format!("round {round}");
        world.write(
            "main.rs",
            &source.replace("\"hello\"", &format!("\"{word}\"")),
        )?;
        let rustc = compile(&world)?;
        let stream = Steady::start(address.to_owned(), format!("/{path}"), key.clone(), 200);
        let up = world.run(&["up", "--yes"])?;
        wait_until("the new version", Duration::from_secs(10), || {
            Ok(http::get(&url, &[("x-api-key", &key)])?
                .body
                .starts_with(&word))
        })?;
        let seen = stream.stop();
        up.expect(0)?;
        let first = seen.bodies.iter().position(|b| b.starts_with(&word));
        let served = first
            .and_then(|i| seen.first_seen.get(i))
            .context("never served")?;
        beyond.push(served.as_secs_f64() - rustc);
        failed += seen.bad;
        if seen.bad > 0 {
            println!("failed during the switch: {:?}", seen.reasons);
        }
    }
    rows.push(Row {
        name: "edit to new version serving, beyond rustc",
        value: median(&beyond),
        unit: "s",
        limit: 1.5,
    });
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    rows.push(Row {
        name: "failed of a 200/s stream during the switches",
        value: failed as f64,
        unit: "requests",
        limit: 0.0,
    });
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

/// Seconds that rustc alone takes for the example.
fn compile(world: &World) -> Result<f64> {
    let out = world.home().join("floor");
    let start = Instant::now();
    let status = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "-O",
            "-C",
            "target-feature=+crt-static",
        ])
        .args(["-C", "strip=symbols", "-o"])
        .arg(&out)
        .arg(world.project().join("main.rs"))
        .status()?;
    ensure!(status.success(), "rustc failed");
    Ok(start.elapsed().as_secs_f64())
}

fn random(exe: &Path, rows: &mut Vec<Row>) -> Result<()> {
    let world = World::new(exe)?;
    let mut program = String::from("name: many\nruntime: yaml\nresources:\n");
    for index in 0..RESOURCES {
        let _ = write!(
            program,
            "  r{index}:\n    type: random:RandomString\n    properties:\n      length: 16\n      special: false\n"
        );
        if index % 10 != 0 {
            let _ = write!(
                program,
                "      keepers:\n        of: ${{r{}.result}}\n",
                index - index % 10
            );
        }
    }
    world.write("Pulumi.yaml", &program)?;
    let (preview, mut peak) = timed(&world, &["preview"])?;
    rows.push(Row {
        name: "5,000 resources: preview",
        value: preview,
        unit: "s",
        limit: 1.5,
    });
    let (first, memory) = timed(&world, &["up", "--yes"])?;
    peak = peak.max(memory);
    rows.push(Row {
        name: "5,000 resources: first up",
        value: first,
        unit: "s",
        limit: 3.0,
    });
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (time, memory) = timed(&world, &["up", "--yes"])?;
        times.push(time);
        peak = peak.max(memory);
    }
    rows.push(Row {
        name: "5,000 resources: no-op up",
        value: median(&times),
        unit: "s",
        limit: 1.0,
    });
    rows.push(Row {
        name: "5,000 resources: peak memory",
        value: peak,
        unit: "MiB",
        limit: 200.0,
    });
    Ok(())
}

/// Wall seconds and peak MiB of one run, as `wait4` counts them for the child.
fn timed(world: &World, args: &[&str]) -> Result<(f64, f64)> {
    let command = world.command(args);
    let mut wrapped = Command::new("/usr/bin/env");
    wrapped.args(["sh", "-c", "\"$@\" >/dev/null 2>\"$OUT\" & p=$!; m=0; while kill -0 $p 2>/dev/null; do v=$(sed -n 's/VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$p/status 2>/dev/null); m=${v:-$m}; sleep 0.02; done; wait $p; r=$?; echo $m; exit $r", "sh"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    let talk = world.project().join(".talk");
    wrapped.env("OUT", &talk).current_dir(world.project());
    let start = Instant::now();
    let output = wrapped.output()?;
    let time = start.elapsed().as_secs_f64();
    ensure!(
        output.status.success(),
        "{args:?} failed: {}",
        fs_err::read_to_string(&talk)?
    );
    let kib: f64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap_or(f64::NAN);
    Ok((time, kib / 1024.0))
}

fn rss_mib(pid: u32) -> Result<f64> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .context("VmRSS")?;
    let kib: f64 = line
        .split_whitespace()
        .nth(1)
        .context("VmRSS value")?
        .parse()?;
    Ok(kib / 1024.0)
}
