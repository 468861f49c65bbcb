//! The node under test, all of it on CPU 0, and so with one worker.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::{World, example, vendor};

use crate::bench::cpu;
use crate::root;

const PROJECT: &str = include_str!("Pulumi.yaml");
/// The threads that answer requests.
const WORKERS: &str = "gateway-worker";
/// Rows are on their way into SQL while the rest of the node uses more than this in a window. The
/// ledger is looked at five times a second, and a slow disk may hold it up.
const QUIET_US: f64 = 4_000.0;
const QUIET_WINDOW: Duration = Duration::from_millis(700);
const QUIET_LIMIT: Duration = Duration::from_secs(120);

/// A node with one model behind one key.
pub(super) struct Node {
    world: World,
    pid: u32,
    pub(super) address: SocketAddr,
    pub(super) key: String,
}

/// CPU time in microseconds.
#[derive(Clone, Copy)]
pub(super) struct Spent {
    pub(super) workers_us: f64,
    /// All other threads; most of it is rows on their way into SQL.
    pub(super) rest_us: f64,
}

impl Node {
    /// Starts one whose vendor is at `url`.
    pub(super) fn start(exe: &Path, url: &str) -> Result<Self> {
        let world = World::new(exe)?;
        world.write("Pulumi.yaml", PROJECT)?;
        let prices = root()?.join("examples/ai/prices.toml");
        world.write("prices.toml", &fs_err::read_to_string(prices)?)?;
        cpu::on_cpu(0, || world.run(&["node", "start"])?.expect(0))?;
        let set = |args: &[&str]| world.run(args)?.expect(0);
        set(&["stack", "init", "dev"])?;
        set(&["config", "set", "vendorUrl", url])?;
        set(&["config", "set", "--secret", "vendorKey", vendor::KEY])?;
        set(&["up", "--yes"])?;
        let (url, key) = example::endpoint(&world)?;
        let address = url.trim_start_matches("http://").split('/').next();
        let address = address.context("a URL without an address")?.parse()?;
        let status = set(&["node", "status", "--json"])?.json()?;
        let pid = status["pid"].as_u64().context("no pid")?;
        Ok(Self {
            world,
            pid: u32::try_from(pid)?,
            address,
            key,
        })
    }

    /// CPU up to now.
    pub(super) fn spent(&self) -> Result<Spent> {
        let mut threads = cpu::by_thread_us(self.pid)?;
        let workers_us = threads.remove(WORKERS).context("no worker threads")?;
        Ok(Spent {
            workers_us,
            rest_us: threads.values().sum(),
        })
    }

    /// Waits until all rows are in SQL, that is until the rest of the node is idle; CPU up to then.
    pub(super) fn settled(&self) -> Result<Spent> {
        let deadline = Instant::now() + QUIET_LIMIT;
        let mut before = self.spent()?;
        loop {
            std::thread::sleep(QUIET_WINDOW);
            let now = self.spent()?;
            if now.rest_us - before.rest_us < QUIET_US {
                return Ok(now);
            }
            ensure!(
                Instant::now() < deadline,
                "the node was not idle again after {QUIET_LIMIT:?}"
            );
            before = now;
        }
    }

    /// An error unless the newest calls have rows of the vendor's tokens and a price.
    pub(super) fn check_rows(&self) -> Result<()> {
        // More than there are connections: all of those may have been cut at the end.
        let usage = ["ai", "calls", "--json", "--limit", "1000"];
        let rows = self.world.run(&usage)?.expect(0)?.json()?;
        let rows = rows["calls"].as_array().context("no list of calls")?;
        ensure!(!rows.is_empty(), "no call has a row");
        for row in rows {
            // Whom the end of a run cut off has a row of an estimate.
            let whole = row["status"] != "ok" || row["estimated"] == false;
            ensure!(whole, "a row without the vendor's tokens: {row}");
        }
        let priced =
            |row: &serde_json::Value| row["status"] == "ok" && row["costMicros"].as_u64() > Some(0);
        ensure!(rows.iter().any(priced), "no row has a price: {}", rows[0]);
        Ok(())
    }

    /// Takes everything down again.
    pub(super) fn close(self) -> Result<()> {
        self.world.run(&["destroy", "--yes"])?.expect(0)?;
        self.world.close()
    }
}
