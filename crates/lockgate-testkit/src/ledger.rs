//! The ledger of a node beside the log of a vendor: load with hang-ups, a node that is killed
//! again and again, and a comparison that is strict in both directions.
//!
//! [`run`] does all of it and gives a [`Report`]; the tests and `cargo xtask bench ledger` call the
//! same code. What is random comes from [`Plan::seed`]; when what happens is up to the machine.

mod compare;
mod prices;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::chat::{Api, Got};
use crate::vendor::Vendor;
use crate::world::wait_until;
use crate::{World, example};

pub use compare::compare;
pub use prices::Prices;

/// Longest answer, in words.
const WORDS_MAX: u64 = 24;
/// A stream of that many words is about as long in bytes; hang-ups fall into it.
const STREAM_BYTES: u64 = 5000;
/// Longest prompt, in bytes.
const PROMPT_BYTES_MAX: u64 = 600;
/// Between two words of the vendor.
const PACE: Duration = Duration::from_millis(1);
/// Nothing that is waited for takes longer.
const LIMIT: Duration = Duration::from_secs(120);
/// Differences that are kept in words.
const TOLD_MAX: usize = 20;

/// How much load, and how many deaths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Clients at once.
    pub clients: u64,
    /// Requests of all clients together.
    pub requests: u64,
    /// How often the node is killed; every fourth time once more while it starts.
    pub kills: u64,
    /// Where the dice begin.
    pub seed: u64,
    /// Bytes of a file of the ledger; the node's own default when `None`.
    pub segment_bytes: Option<u64>,
}

/// What a client got of one answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Id of the request, if the head came so far.
    pub request: Option<String>,
    /// Status; 0 when its line did not come.
    pub status: u16,
    /// Words of a stream.
    pub words: u64,
    /// All of it came.
    pub whole: bool,
    /// Bytes of the request's body.
    pub body_bytes: u64,
}

impl Answer {
    /// What `got` is of the answer to `body`.
    pub fn of(got: &Got, body: &Value) -> Self {
        Self {
            request: got.request().map(str::to_owned),
            status: got.status(),
            words: got.words(),
            whole: got.is_whole(),
            body_bytes: body.to_string().len() as u64,
        }
    }
}

/// Calls of one status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Calls that the vendor saw.
    pub seen: u64,
    /// Rows of the ledger for them.
    pub rows: u64,
    /// Rows whose tokens the vendor told.
    pub exact: u64,
    /// Input tokens: the vendor's count and the ledger's.
    pub input: (u64, u64),
    /// Those of them that came from a cache.
    pub cached: (u64, u64),
    /// Output tokens.
    pub output: (u64, u64),
    /// Words that clients got.
    pub got: u64,
    /// Input, cached and output tokens by which the rows that the vendor told differ.
    pub difference: u64,
    /// Pico-units of the currency.
    pub cost: u128,
}

/// The ledger beside the vendor's log.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Calls that the vendor saw.
    pub seen: u64,
    /// Rows of the ledger.
    pub rows: u64,
    /// Times the node was killed.
    pub kills: u64,
    /// By status.
    pub lines: BTreeMap<String, Line>,
    /// Rows of calls that the vendor never saw, by status, and what they cost in pico-units.
    pub unseen: BTreeMap<String, (u64, u128)>,
    /// Rows beyond the first of one call, and calls that the vendor saw twice.
    pub duplicates: u64,
    /// Everything that is not as it must be.
    pub differences: u64,
    /// The first of them in words.
    pub told: Vec<String>,
    /// Wall time.
    pub took: Duration,
}

impl Report {
    pub(crate) fn tell(&mut self, difference: impl fmt::Display) {
        self.differences += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(difference.to_string());
        }
    }

    /// An error with all that was found, if anything differs or the run proved nothing.
    pub fn check(&self, plan: &Plan) -> Result<()> {
        ensure!(
            self.differences == 0,
            "{} differences, the first:\n{}\n{self}",
            self.differences,
            self.told.join("\n")
        );
        ensure!(
            self.seen > plan.requests * 3 / 4,
            "the vendor saw {} of {} requests",
            self.seen,
            plan.requests
        );
        let mut wanted = vec!["ok", "client_cancelled"];
        wanted.extend((plan.kills > 0).then_some("recovered"));
        for status in wanted {
            let line = self.lines.get(status);
            ensure!(line.is_some(), "no call was {status}:\n{self}");
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| status | vendor's calls | rows | told by the vendor | input: vendor | ledger | cached: vendor | ledger | output: vendor | ledger | clients got | difference | cost |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
        for (status, line) in &self.lines {
            writeln!(
                f,
                "| {status} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                line.seen,
                line.rows,
                line.exact,
                line.input.0,
                line.input.1,
                line.cached.0,
                line.cached.1,
                line.output.0,
                line.output.1,
                line.got,
                line.difference,
                amount(line.cost)
            )?;
        }
        for (status, (rows, cost)) in &self.unseen {
            let cost = amount(*cost);
            writeln!(
                f,
                "| {status}, never reached the vendor | 0 | {rows} | 0 | – | – | – | – | – | – | – | – | {cost} |"
            )?;
        }
        write!(
            f,
            "{} calls at the vendor, {} rows, {} kills, {} duplicates, {} differences, {:.1} s",
            self.seen,
            self.rows,
            self.kills,
            self.duplicates,
            self.differences,
            self.took.as_secs_f64()
        )
    }
}

/// Pico-units as units of the currency.
fn amount(pico: u128) -> String {
    const PICO: u128 = 1_000_000_000_000;
    format!("{}.{:012}", pico / PICO, pico % PICO)
}

/// Runs the AI example in `folder` under `plan` and compares.
pub fn run(exe: &Path, folder: &Path, plan: Plan) -> Result<Report> {
    judge(exe, folder, plan, |world, course| {
        kill_often(world, plan, course)
    })
}

/// Under the load of `plan`, lets the node die at each of `faults` (`point:passing`), and
/// compares. The load ends when the last of them has fired.
pub fn run_faults(exe: &Path, folder: &Path, plan: Plan, faults: &[String]) -> Result<Report> {
    judge(exe, folder, plan, |world, course| {
        for fault in faults {
            die_at(world, fault).with_context(|| fault.clone())?;
        }
        course.next.store(plan.requests, Ordering::Release);
        Ok(faults.len() as u64)
    })
}

/// Runs the example under the load of `plan` while `deaths` ends the node, and compares.
fn judge(
    exe: &Path,
    folder: &Path,
    plan: Plan,
    deaths: impl FnOnce(&World, &Course) -> Result<u64>,
) -> Result<Report> {
    let start = Instant::now();
    let vendor = Vendor::start(PACE)?;
    let world = example::ai_world(exe, folder, &vendor)?;
    if let Some(bytes) = plan.segment_bytes {
        world.add_settings(&format!("[ledger]\nsegment_bytes = {bytes}\n"))?;
    }
    world.run(&["up", "--yes"])?.expect(0)?;
    let (answers, kills) = load(&world, plan, |course| deaths(&world, course))?;
    let mut report = compare_all(&world, &vendor, &answers)?;
    report.kills = kills;
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()?;
    report.took = start.elapsed();
    Ok(report)
}

/// Starts the node in the foreground, so that it dies at `fault`.
pub fn serve_with_fault(world: &World, fault: &str) -> Result<Child> {
    world
        .command(&["serve"])
        .env("LOCKGATE_TEST_FAULT", fault)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start a node")
}

/// Starts the node anew so that it dies at `fault`, waits for that, and starts it again.
fn die_at(world: &World, fault: &str) -> Result<()> {
    kill(world)?;
    let mut node = serve_with_fault(world, fault)?;
    let mut ended = None;
    let died = wait_until("the fault", LIMIT, || {
        ended = node.try_wait()?;
        Ok(ended.is_some())
    });
    if ended.is_none() {
        node.kill()?;
        node.wait()?;
    }
    died?;
    world.run(&["node", "start"])?.expect(0)?;
    let ended = ended.context("the node did not end")?;
    ensure!(ended.code().is_none(), "the node ended by itself: {ended}");
    Ok(())
}

/// Compares the ledger of `world` with the log of `vendor`.
pub fn compare_now(
    world: &World,
    vendor: &Vendor,
    answers: &BTreeMap<u64, Answer>,
) -> Result<Report> {
    let calls = settled(world)?;
    let prices = fs_err::read_to_string(world.project().join("prices.toml"))?;
    let prices = Prices::parse(&prices)?;
    Ok(compare(&vendor.log(), &calls, answers, &prices))
}

/// Compares, kills the node, and compares once more: what is settled is never changed again.
fn compare_all(world: &World, vendor: &Vendor, answers: &BTreeMap<u64, Answer>) -> Result<Report> {
    let calls = settled(world)?;
    let mut report = compare_now(world, vendor, answers)?;
    kill(world)?;
    world.run(&["node", "start"])?.expect(0)?;
    if settled(world)? != calls {
        report.tell("rows changed when the node was killed after the last call");
    }
    Ok(report)
}

/// A number that looks random and is the same for every run of a seed (splitmix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One request: where it goes, what it says, after how many bytes its client hangs up.
struct Shot {
    path: &'static str,
    body: Value,
    bytes: usize,
}

impl Shot {
    /// Half are streams, a tenth embeddings; a third of all hang up early.
    fn new(seed: u64, n: u64) -> Self {
        let dice = mix(mix(seed) ^ n);
        let prompt = "x".repeat(usize::try_from((dice >> 40) % PROMPT_BYTES_MAX).unwrap_or(0));
        let (path, mut body) = match dice % 10 {
            0 => {
                let body = json!({"model": "embed", "input": prompt, "encoding_format": "float"});
                ("/v1/embeddings", body)
            }
            kind => {
                let body = json!({"model": "fast", "stream": kind <= 5,
                    "max_tokens": 1 + (dice >> 8) % WORDS_MAX,
                    "messages": [{"role": "user", "content": prompt}]});
                ("/v1/chat/completions", body)
            }
        };
        if body["stream"] == true && (dice >> 13).is_multiple_of(3) {
            body["stream_options"] = json!({"include_usage": true});
        }
        if body["model"] == "fast" && (dice >> 15).is_multiple_of(4) {
            body["prompt_cache_key"] = json!("test");
        }
        body["user"] = json!(name(n));
        let bytes = match (dice >> 17) % 3 {
            0 => usize::try_from((dice >> 20) % STREAM_BYTES).unwrap_or(0),
            _ => usize::MAX,
        };
        Self { path, body, bytes }
    }

    /// Asks until the node takes the connection.
    fn fire(&self, api: &Api, over: &AtomicBool) -> Option<Answer> {
        while !over.load(Ordering::Acquire) {
            match api.post(self.path, &self.body, self.bytes) {
                Ok(got) if got.status() != 503 => return Some(Answer::of(&got, &self.body)),
                // The node is down, or not yet up again.
                _ => std::thread::park_timeout(Duration::from_millis(2)),
            }
        }
        None
    }
}

/// How a request of the load names itself, in its field `user`.
pub fn name(n: u64) -> String {
    format!("shot-{n}")
}

/// How far the load is.
#[derive(Debug, Default)]
struct Course {
    /// The request that is made next.
    next: AtomicU64,
    /// Requests that ended.
    done: AtomicU64,
    /// Clients give up, also those that wait for a node.
    over: AtomicBool,
}

/// All answers, by the number of the request, and what `chaos` gave beside the load.
fn load(
    world: &World,
    plan: Plan,
    chaos: impl FnOnce(&Course) -> Result<u64>,
) -> Result<(BTreeMap<u64, Answer>, u64)> {
    let api = Api::of(world)?;
    let course = Course::default();
    std::thread::scope(|scope| {
        let client = || {
            let mut answers = Vec::new();
            loop {
                let n = course.next.fetch_add(1, Ordering::AcqRel);
                if n >= plan.requests {
                    return answers;
                }
                let answer = Shot::new(plan.seed, n).fire(&api, &course.over);
                answers.extend(answer.map(|answer| (n, answer)));
                course.done.fetch_add(1, Ordering::AcqRel);
            }
        };
        let clients: Vec<_> = (0..plan.clients).map(|_| scope.spawn(client)).collect();
        let killed = chaos(&course);
        course.over.store(killed.is_err(), Ordering::Release);
        let mut answers = BTreeMap::new();
        for client in clients {
            let client = client.join();
            answers.extend(client.map_err(|_| anyhow::anyhow!("a client panicked"))?);
        }
        Ok((answers, killed?))
    })
}

fn kill_often(world: &World, plan: Plan, course: &Course) -> Result<u64> {
    let mut kills = 0;
    for turn in 1..=plan.kills {
        let due = turn * plan.requests / (plan.kills + 1);
        wait_until("the clients", LIMIT, || {
            Ok(course.done.load(Ordering::Acquire) >= due)
        })?;
        let dice = mix(mix(plan.seed) ^ mix(turn));
        std::thread::park_timeout(Duration::from_micros(dice % 20_000));
        let dead = kill(world)?;
        kills += 1;
        if turn % 4 == 0 {
            kill_while_it_starts(world, dead, Duration::from_micros((dice >> 20) % 60_000))?;
            kills += 1;
        }
        world.run(&["node", "start"])?.expect(0)?;
    }
    Ok(kills)
}

/// Kills the node and waits until it is gone; its process id.
pub fn kill(world: &World) -> Result<u64> {
    let status = ["node", "status", "--json"];
    let status = world.run(&status)?.expect(0)?.json()?;
    let pid = status["pid"].as_u64().context("no pid")?;
    kill_process(pid)?;
    Ok(pid)
}

fn kill_process(pid: u64) -> Result<()> {
    let killed = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()?;
    ensure!(killed.success(), "kill: {killed}");
    wait_until("the node's end", LIMIT, || {
        Ok(!Path::new("/proc").join(pid.to_string()).exists())
    })
}

/// Starts the node and kills it `after` it wrote down who it is: in the middle of reading back
/// what the dead one, `dead`, left behind.
fn kill_while_it_starts(world: &World, dead: u64, after: Duration) -> Result<()> {
    let mut node = serve_with_fault(world, "")?;
    let path = world.home().join("node/pid");
    let begun = wait_until("a node that starts", LIMIT, || {
        let text = fs_err::read_to_string(&path)?;
        Ok(text.trim().parse::<u64>().is_ok_and(|pid| pid != dead))
    });
    std::thread::park_timeout(after);
    node.kill().context("kill a node that starts")?;
    node.wait()?;
    begun
}

/// The calls of the ledger, once none is under way.
pub fn settled(world: &World) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    wait_until("the last calls", LIMIT, || {
        let usage = ["ai", "calls", "--json", "--limit", "1000000"];
        let mut usage = world.run(&usage)?.expect(0)?.json()?;
        ensure!(
            usage["more"] == false,
            "there are more calls than one reads"
        );
        let calls = usage["calls"].as_array_mut().context("no calls")?;
        found = std::mem::take(calls);
        let open = found.iter().any(|call| call["status"] == "open");
        Ok(!open && usage["behind"] == false)
    })?;
    Ok(found)
}
