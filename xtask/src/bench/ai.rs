//! `cargo xtask bench ai`: what the AI gateway costs, beside plain nginx and LiteLLM's proxy.
//!
//! Everything runs on loopback: the proxy under test on CPU 0 (a node with one worker), load and
//! vendor on CPU 1. Each figure of CPU is the kernel's accounting of the proxy's threads, so it
//! holds on a machine that does other things too; rates and latencies do not. Loopback bills the
//! receiver's TCP work to the sender; that is the same for all.

mod completions;
mod first_event;
mod litellm;
mod node;
mod reader;
mod report;
mod streams;
mod vendor;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use self::completions::{Drive, Floor, Proxy, Whose};
use self::first_event::{Kind, Way};
use self::litellm::LiteLlm;
use self::node::Node;
use self::report::Report;
use self::streams::Bed;
use super::servers::{has_tools_and_cpus, nginx_version};
use crate::{build, root};

const HELP: &str = "\
usage: cargo xtask bench ai [--only PART] [--rounds N] [--json FILE]

  --only PART   one part; every part without it:
                  completions  CPU per chat completion with key, limit, tokens, price and row
                  streams      CPU per relayed event of a stream
                  first-event  added time to the first event of a stream
                  litellm      completions again, at the pace of LiteLLM's proxy and beside it
  --rounds N    rounds of each part, 5 without it; figures are medians
  --json FILE   raw rounds and versions

Fails when an answer was no success or an event is missing. A limit that was not kept is marked.";

const ROUNDS: usize = 5;
const COMPLETIONS: Drive = Drive {
    connections: 64,
    seconds: 4,
};
/// LiteLLM's proxy answers some hundred requests a second: more connections would only wait.
const SLOW: Drive = Drive {
    connections: 8,
    seconds: 5,
};

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Completions,
    Streams,
    FirstEvent,
    LiteLlm,
}

impl Part {
    const ALL: [(&'static str, Self); 4] = [
        ("completions", Self::Completions),
        ("streams", Self::Streams),
        ("first-event", Self::FirstEvent),
        ("litellm", Self::LiteLlm),
    ];
}

struct Settings {
    rounds: usize,
    only: Option<Part>,
    json: Option<PathBuf>,
}

impl Settings {
    fn has(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// Measures and prints.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if args.iter().any(|a| a == "--help" || a == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let settings = parse(args)?;
    if !has_tools_and_cpus()? {
        return Ok(());
    }
    let exe = build(true)?;
    let mut report = Report::default();
    report.version("nginx", nginx_version()?);
    let system = fs_err::read_to_string("/proc/sys/kernel/osrelease")?;
    report.version("linux", system.trim().to_owned());
    let commit = ["describe", "--always", "--dirty"];
    let commit = Command::new("git")
        .args(commit)
        .current_dir(root()?)
        .output()?;
    let commit = String::from_utf8_lossy(&commit.stdout);
    report.version("lockgate", commit.trim().to_owned());
    let wants_peer = settings.has(Part::LiteLlm) || settings.has(Part::FirstEvent);
    let peer = if wants_peer {
        peer(&exe, &mut report)
    } else {
        None
    };
    if settings.has(Part::Completions) || settings.has(Part::LiteLlm) {
        completions(&exe, &settings, peer.as_deref(), &mut report)?;
    }
    if settings.has(Part::Streams) || settings.has(Part::FirstEvent) {
        streams(&exe, &settings, peer.as_deref(), &mut report)?;
    }
    report.close(settings.json.as_deref())
}

/// The folder of LiteLLM; without one the run goes on, and says so.
fn peer(exe: &Path, report: &mut Report) -> Option<PathBuf> {
    match litellm::install(exe) {
        Ok((venv, version)) => {
            report.version("litellm", version);
            Some(venv)
        }
        Err(error) => {
            println!("NOT MEASURED: LiteLLM's proxy could not be installed: {error:#}");
            report.version("litellm", "not installed".to_owned());
            None
        }
    }
}

/// Completions that are no streams.
fn completions(
    exe: &Path,
    settings: &Settings,
    peer: Option<&Path>,
    report: &mut Report,
) -> Result<()> {
    let floor = Floor::start()?;
    let node = Node::start(exe, &floor.url())?;
    let mut proxies = vec![floor.proxy(), own(&node)];
    let rounds = settings.rounds;
    if settings.has(Part::Completions) {
        completions::measure(&floor, &proxies, COMPLETIONS, rounds, report)?;
    }
    if let (true, Some(venv)) = (settings.has(Part::LiteLlm), peer) {
        let litellm = LiteLlm::start(venv, &floor.url(), floor.folder())?;
        litellm.check()?;
        proxies.push(Proxy {
            name: LiteLlm::NAME,
            address: litellm.address,
            key: LiteLlm::KEY,
            whose: Whose::Tree(litellm.pid()),
        });
        completions::measure(&floor, &proxies, SLOW, rounds, report)?;
    }
    close(node, report)
}

/// Streams, and their first events.
fn streams(
    exe: &Path,
    settings: &Settings,
    peer: Option<&Path>,
    report: &mut Report,
) -> Result<()> {
    let bed = Bed::start()?;
    let node = Node::start(exe, &bed.vendor.url())?;
    if settings.has(Part::Streams) {
        let other = Node::start(exe, &bed.vendor.url())?;
        let nodes = [&own(&node), &own(&other)];
        streams::measure(&bed.proxy(), nodes, settings.rounds, report)?;
        close(other, report)?;
    }
    if settings.has(Part::FirstEvent) {
        let way = |name, address, key, kind| Way {
            name,
            address,
            key,
            kind,
        };
        let plain = bed.proxy();
        let mut ways = vec![
            way(
                "direct to the vendor",
                bed.vendor.address(),
                "none",
                Kind::Peer,
            ),
            way(plain.name, plain.address, plain.key, Kind::Peer),
            way("lockgate", node.address, &node.key, Kind::Own),
        ];
        let litellm = peer.map(|venv| LiteLlm::start(venv, &bed.vendor.url(), bed.folder()));
        let litellm = litellm.transpose()?;
        if let Some(litellm) = &litellm {
            ways.push(way(
                LiteLlm::NAME,
                litellm.address,
                LiteLlm::KEY,
                Kind::SlowPeer,
            ));
        }
        first_event::measure(&ways, settings.rounds, report)?;
    }
    close(node, report)
}

/// Looks at the rows of the node and takes it down.
fn close(node: Node, report: &mut Report) -> Result<()> {
    if let Err(error) = node.check_rows() {
        report.fault(format!("{error:#}"));
    }
    node.close()
}

fn own(node: &Node) -> Proxy<'_> {
    Proxy {
        name: "lockgate",
        address: node.address,
        key: &node.key,
        whose: Whose::Node(node),
    }
}

fn parse(args: &[String]) -> Result<Settings> {
    let mut settings = Settings {
        rounds: ROUNDS,
        only: None,
        json: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--rounds" => settings.rounds = value?.parse().context("--rounds needs a number")?,
            "--json" => settings.json = Some(value?.into()),
            "--only" => {
                let name = value?;
                let part = Part::ALL.iter().find(|(n, _)| n == name);
                settings.only = Some(part.with_context(|| format!("no part `{name}`\n{HELP}"))?.1);
            }
            other => bail!("unknown flag `{other}`\n{HELP}"),
        }
    }
    ensure!(settings.rounds > 0, "--rounds needs at least one");
    Ok(settings)
}
