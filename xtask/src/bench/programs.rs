//! `cargo xtask bench programs`: programs on the published SDKs, from the kernel's own accounting
//! of processes.

mod floor;
mod usage;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use lockgate_pulumi::Language as Runtime;
use lockgate_testkit::World;
use lockgate_testkit::languages::{self, Language};
use serde_json::json;
use usage::Usage;

use super::median;
use crate::build;

const HELP: &str = "\
usage: cargo xtask bench programs [--json FILE] [--rounds N]

Measures, on the published SDKs of Python and Node.js and a release build:
  cpu      1,000 random resources, first `up` (a preview and an update): CPU of the program's and
           of Lockgate's process, beside the same program against a monitor that answers at once
  start    `preview` of a program without resources, wall time, median of five after a warm-up
  many     5,000 registrations that no program waits for: how many are in the state afterwards
  log      CPU of Lockgate per call of Engine.Log with severity debug

  --json FILE   writes the figures as JSON
  --rounds N    rounds of `cpu` and `log` whose median counts (default 3)
";

/// What `--parallel` is when nobody sets it.
const PARALLEL: u32 = 16;
const RESOURCES: usize = 1000;
const MANY: usize = 5000;
const STARTS: usize = 5;
const LOGS: u32 = 20_000;

/// A figure and the most it may be.
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    limit: Option<f64>,
}

struct Settings {
    json: Option<String>,
    rounds: usize,
}

/// Measures and prints a table.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let Some(settings) = parse(args)? else {
        println!("{HELP}");
        return Ok(());
    };
    let exe = build(true)?;
    let mut rows = Vec::new();
    cpu(&exe, Language::Python, settings.rounds, &mut rows)?;
    cpu(&exe, Language::Nodejs, settings.rounds, &mut rows)?;
    start(&exe, &mut rows)?;
    many(&exe, &mut rows)?;
    log(&exe, settings.rounds, &mut rows)?;
    print!("{}", table(&rows));
    if let Some(path) = settings.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|r| json!({"name": r.name, "value": r.value, "unit": r.unit, "limit": r.limit}))
            .collect();
        fs_err::write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}

/// `None` for a cry for help.
fn parse(args: &[String]) -> Result<Option<Settings>> {
    let mut settings = Settings {
        json: None,
        rounds: 3,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => return Ok(None),
            "--json" => settings.json = Some(args.next().context("--json FILE")?.clone()),
            "--rounds" => {
                settings.rounds = args.next().context("--rounds N")?.parse()?;
                ensure!(settings.rounds > 0, "--rounds takes at least 1");
            }
            other => bail!("unknown argument `{other}`\n{HELP}"),
        }
    }
    Ok(Some(settings))
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from("| figure | measured | limit |\n|---|---|---|\n");
    for row in rows {
        let over = row.limit.is_some_and(|limit| row.value > limit);
        let mark = if over { " **over**" } else { "" };
        let limit = row
            .limit
            .map_or("–".to_owned(), |l| format!("{l} {}", row.unit));
        let _ = writeln!(
            text,
            "| {} | {:.2} {}{mark} | {limit} |",
            row.name, row.value, row.unit
        );
    }
    text
}

/// What a language's programs look like.
struct Facts {
    name: &'static str,
    runtime: Runtime,
    many: fn(usize) -> String,
    /// Most CPU, as a share of what the SDK takes by itself.
    share_max: Option<f64>,
}

fn facts(language: Language) -> Facts {
    match language {
        Language::Python | Language::OldPython => Facts {
            name: "Python",
            runtime: Runtime::Python,
            many: |count| {
                format!(
                    "import pulumi_random as random\nfor i in range({count}):\n    random.RandomString(f's{{i}}', length=8)\n"
                )
            },
            share_max: Some(1.25),
        },
        Language::Nodejs | Language::Nodejs22 => Facts {
            name: "Node.js",
            runtime: Runtime::Nodejs,
            many: |count| {
                format!(
                    "const random = require('@pulumi/random');\nfor (let i = 0; i < {count}; i++) new random.RandomString(`s${{i}}`, {{ length: 8 }});\n"
                )
            },
            share_max: None,
        },
    }
}

/// A project in `language` whose program is `text`.
fn world(exe: &Path, language: Language, text: &str) -> Result<World> {
    let mut world = World::new(exe)?;
    languages::link(exe, &mut world, language)?;
    match facts(language).runtime {
        Runtime::Python => {
            world.write("Pulumi.yaml", "name: x\nruntime: python\n")?;
            world.write("__main__.py", text)?;
        }
        Runtime::Nodejs => {
            world.write(
                "Pulumi.yaml",
                "name: x\nruntime:\n  name: nodejs\n  options: {typescript: false}\n",
            )?;
            world.write("package.json", "{\"main\": \"index.js\"}")?;
            world.write("index.js", text)?;
        }
    }
    Ok(world)
}

fn middle(usages: &[Usage], field: fn(&Usage) -> f64) -> f64 {
    median(&usages.iter().map(field).collect::<Vec<_>>())
}

fn cpu(exe: &Path, language: Language, rounds: usize, rows: &mut Vec<Row>) -> Result<()> {
    let facts = facts(language);
    let program = (facts.many)(RESOURCES);
    let (mut floors, mut usages) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let world = world(exe, language, &program)?;
        floors.push(floor::measure(&world, facts.runtime)?);
        usages.push(usage::run(&world, &["up", "--yes"])?);
        check_count(&world, RESOURCES)?;
    }
    let floor = median(&floors);
    let total = middle(&usages, |u| u.own + u.children);
    let mut row = |name: &str, value, unit, limit| {
        rows.push(Row {
            name: format!("{}, 1,000 resources, first `up`: {name}", facts.name),
            value,
            unit,
            limit,
        });
    };
    row("the SDK alone", floor, "s of CPU", None);
    row(
        "the SDK's process",
        middle(&usages, |u| u.children),
        "s of CPU",
        None,
    );
    row(
        "Lockgate's process",
        middle(&usages, |u| u.own),
        "s of CPU",
        None,
    );
    row(
        "both, beside the SDK alone",
        total / floor,
        "×",
        facts.share_max,
    );
    row(
        "both, beside the SDK's process",
        middle(&usages, |u| (u.own + u.children) / u.children),
        "×",
        facts.share_max,
    );
    row("wall", middle(&usages, |u| u.wall), "s", None);
    row(
        "peak of the SDK's process",
        middle(&usages, |u| u.child_peak),
        "MiB",
        None,
    );
    row(
        "peak of Lockgate's process",
        middle(&usages, |u| u.own_peak),
        "MiB",
        None,
    );
    Ok(())
}

/// Fails unless the state has `count` random texts.
fn check_count(world: &World, count: usize) -> Result<()> {
    let found = kept(world)?;
    ensure!(found == count, "{found} of {count} are in the state");
    Ok(())
}

/// How many random texts the state has.
fn kept(world: &World) -> Result<usize> {
    let state = world.run(&["stack", "export"])?.expect(0)?.json()?;
    let resources = state["deployment"]["resources"].as_array();
    let texts = resources.into_iter().flatten();
    let texts = texts.filter(|r| r["type"] == "random:index/randomString:RandomString");
    Ok(texts.count())
}

fn start(exe: &Path, rows: &mut Vec<Row>) -> Result<()> {
    let javascript =
        "const pulumi = require('@pulumi/pulumi');\nexports.stack = pulumi.getStack();\n";
    let typescript = "import * as pulumi from '@pulumi/pulumi';\nexport const stack: string = pulumi.getStack();\n";
    let python = "import pulumi\npulumi.export('stack', pulumi.get_stack())\n";
    let compiled = world(exe, Language::Nodejs, "")?;
    compiled.write("Pulumi.yaml", "name: x\nruntime: nodejs\n")?;
    compiled.write("package.json", "{\"main\": \"index.ts\"}")?;
    compiled.write("index.ts", typescript)?;
    for (name, limit, world) in [
        ("Python", 0.5, world(exe, Language::Python, python)?),
        ("JavaScript", 1.6, world(exe, Language::Nodejs, javascript)?),
        ("TypeScript", 2.2, compiled),
    ] {
        let mut walls = Vec::new();
        for round in 0..=STARTS {
            let usage = usage::run(&world, &["preview"])?;
            if round > 0 {
                walls.push(usage.wall);
            }
        }
        rows.push(Row {
            name: format!("{name}, `preview` of a program without resources"),
            value: median(&walls),
            unit: "s",
            limit: Some(limit),
        });
    }
    Ok(())
}

fn many(exe: &Path, rows: &mut Vec<Row>) -> Result<()> {
    for language in [Language::Python, Language::Nodejs] {
        let facts = facts(language);
        let world = world(exe, language, &(facts.many)(MANY))?;
        let usage = usage::run(&world, &["up", "--yes", "--json"])?;
        // A request that was refused or cut ends the run with an error; `run` would have said so.
        let lost = MANY - kept(&world)?.min(MANY);
        let mut row = |name: &str, value, unit, limit| {
            rows.push(Row {
                name: format!("{}, 5,000 registrations at once: {name}", facts.name),
                value,
                unit,
                limit,
            });
        };
        #[expect(clippy::cast_precision_loss, reason = "a count below 5,000")]
        row("lost", lost as f64, "", Some(0.0));
        row("wall", usage.wall, "s", None);
        row("peak of Lockgate's process", usage.own_peak, "MiB", None);
    }
    Ok(())
}

/// Calls `Engine.Log` in a row and leaves the wall time per call behind.
fn logs(count: u32) -> String {
    format!(
        "import time, pulumi\n\
         from pulumi.runtime.proto import engine_pb2\n\
         engine = pulumi.runtime.settings.get_engine()\n\
         request = engine_pb2.LogRequest(severity=engine_pb2.DEBUG, message='x' * 200)\n\
         start = time.perf_counter()\n\
         for _ in range({count}):\n    engine.Log(request)\n\
         open('wall', 'w').write(str(time.perf_counter() - start))\n"
    )
}

fn log(exe: &Path, rounds: usize, rows: &mut Vec<Row>) -> Result<()> {
    let (mut costs, mut walls) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut own = Vec::new();
        for count in [0, LOGS] {
            let world = world(exe, Language::Python, &logs(count))?;
            own.push(usage::run(&world, &["preview"])?.own);
            if count > 0 {
                let wall = fs_err::read_to_string(world.project().join("wall"))?;
                walls.push(wall.parse::<f64>()? * 1e6 / f64::from(count));
            }
        }
        costs.push((own[1] - own[0]) * 1e6 / f64::from(LOGS));
    }
    rows.push(Row {
        name: "`Engine.Log`, severity debug: CPU of Lockgate's process per call".to_owned(),
        value: median(&costs),
        unit: "µs",
        limit: Some(50.0),
    });
    rows.push(Row {
        name: "`Engine.Log`, severity debug: wall time that the SDK sees per call".to_owned(),
        value: median(&walls),
        unit: "µs",
        limit: None,
    });
    Ok(())
}
