//! The ledger on disks that are really full: its own, and the database's.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::chat::{Api, Got};
use lockgate_testkit::disk::SmallDisk;
use lockgate_testkit::ledger::{Answer, compare_now, name};
use lockgate_testkit::vendor::Vendor;
use lockgate_testkit::world::wait_until;
use lockgate_testkit::{World, example};
use serde_json::Value;

use crate::support::{example as folder, exe};

const ALL: usize = usize::MAX;
const LIMIT: Duration = Duration::from_secs(60);
const SEGMENT_BYTES: u64 = 64 * 1024;
const SEGMENTS: u64 = 8;
/// Most lines of the log about one full disk, however many calls were made on it.
const TOLD_MAX: usize = 4;
/// More calls than a ledger of that size could hold.
const ASKED_MAX: u64 = 20_000;

/// Asks, and keeps what was answered by the number of the request.
struct Asker {
    api: Api,
    answers: BTreeMap<u64, Answer>,
    next: u64,
}

impl Asker {
    fn new(world: &World) -> Result<Self> {
        Ok(Self {
            api: Api::of(world)?,
            answers: BTreeMap::new(),
            next: 0,
        })
    }

    fn body(&mut self, stream: bool, words: u64) -> (u64, Value) {
        let mut body = Api::body("fast", stream, words);
        body["user"] = name(self.next).into();
        self.next += 1;
        (self.next - 1, body)
    }

    fn ask(&mut self) -> Result<Got> {
        let (n, body) = self.body(false, 1);
        let got = self.api.chat(&body, ALL)?;
        if got.status() != 503 {
            self.answers.insert(n, Answer::of(&got, &body));
        }
        Ok(got)
    }

    /// Asks until a call is refused; that answer.
    fn ask_until_refused(&mut self) -> Result<Got> {
        for _ in 0..ASKED_MAX {
            let got = self.ask()?;
            if got.status() != 200 {
                return Ok(got);
            }
        }
        anyhow::bail!("{ASKED_MAX} calls on a full disk")
    }

    fn ask_until_taken(&mut self) -> Result<()> {
        wait_until("a call that is taken", LIMIT, || {
            Ok(self.ask()?.status() == 200)
        })
    }
}

fn health(world: &World) -> Result<Value> {
    let status = ["node", "status", "--json"];
    Ok(world.run(&status)?.expect(0)?.json()?["ledger"].clone())
}

fn metrics(world: &World) -> Result<String> {
    let mut stream = UnixStream::connect(world.home().join("node/admin.sock"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Lines of the node's log with `part`.
fn logged(world: &World, part: &str) -> Result<usize> {
    let log = fs_err::read_to_string(world.home().join("node/node.log"))?;
    Ok(log.lines().filter(|line| line.contains(part)).count())
}

fn check_refusal(got: &Got) -> Result<()> {
    let body = got.text.split_once("\r\n\r\n").context("no body")?.1;
    let body: Value = serde_json::from_str(body)?;
    let error = &body["error"];
    ensure!(got.status() == 503, "{}", got.text);
    ensure!(error["type"] == "server_error", "{}", got.text);
    ensure!(error["code"] == "no_ledger", "{}", got.text);
    ensure!(error["message"].is_string(), "{}", got.text);
    ensure!(got.text.contains("\r\nretry-after: "), "{}", got.text);
    Ok(())
}

#[test]
fn a_full_disk_refuses_calls_before_the_vendor_and_ends_what_is_under_way() -> Result<()> {
    const STREAMS: usize = 4;
    const WORDS: u64 = 150;
    let vendor = Vendor::start(Duration::ZERO)?;
    let world = example::ai_world(exe(), &folder("ai"), &vendor)?;
    world.add_settings(&format!("[ledger]\nsegment_bytes = {SEGMENT_BYTES}\n"))?;
    let Some(disk) = SmallDisk::mount(&world.home().join("node/ledger"), 16 * SEGMENT_BYTES)?
    else {
        println!("skipped, 1: only root may mount a small disk");
        return Ok(());
    };
    world.run(&["up", "--yes"])?.expect(0)?;
    let mut asker = Asker::new(&world)?;
    ensure!(asker.ask()?.status() == 200);
    // Calls under way keep the segment that they began in, so the disk stays full.
    vendor.hold();
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| {
            let (n, body) = asker.body(true, WORDS);
            let api = asker.api.clone();
            std::thread::spawn(move || {
                let got = api.chat(&body, ALL)?;
                anyhow::Ok((n, Answer::of(&got, &body)))
            })
        })
        .collect();
    wait_until("streams under way", LIMIT, || {
        let log = vendor.log();
        Ok(log
            .iter()
            .filter(|seen| seen.body.contains("\"stream\":true"))
            .count()
            == STREAMS)
    })?;
    disk.fill()?;
    check_refusal(&asker.ask_until_refused()?)?;
    let before = vendor.log().len();
    for _ in 0..50 {
        check_refusal(&asker.ask()?)?;
    }
    ensure!(
        vendor.log().len() == before,
        "a refused call reached the vendor"
    );
    let health_now = health(&world)?;
    ensure!(
        health_now["full"] == true && health_now["refused"] == 51,
        "{health_now}"
    );
    ensure!(metrics(&world)?.contains("\nlockgate_ledger_full 1\n"));
    ensure!(metrics(&world)?.contains("\nlockgate_ledger_refused_total 51\n"));
    let usage = world.run(&["ai", "usage"])?.expect(0)?;
    ensure!(usage.data.contains("fast"), "{}", usage.data);
    vendor.release();
    for stream in streams {
        let (n, answer) = stream.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        ensure!(answer.whole && answer.words == WORDS, "{answer:?}");
        asker.answers.insert(n, answer);
    }
    disk.free()?;
    asker.ask_until_taken()?;
    ensure!(health(&world)?["full"] == false);
    ensure!(metrics(&world)?.contains("\nlockgate_ledger_full 0\n"));
    ensure!(logged(&world, "the ledger of AI calls is full")? == 1);
    ensure!(logged(&world, "the ledger of AI calls has room again")? == 1);

    // A node that starts on a full disk refuses calls and serves the rest. What it could remove
    // would give it room, so nothing is left to remove.
    wait_until("a ledger of one segment", LIMIT, || {
        Ok(health(&world)?["segments"] == 1)
    })?;
    lockgate_testkit::ledger::kill(&world)?;
    disk.fill()?;
    world.run(&["node", "start"])?.expect(0)?;
    check_refusal(&asker.ask()?)?;
    ensure!(health(&world)?["full"] == true);
    disk.free()?;
    asker.ask_until_taken()?;

    let report = compare_now(&world, &vendor, &asker.answers)?;
    ensure!(report.differences == 0, "{:?}\n{report}", report.told);
    ensure!(report.rows == report.seen, "{report}");
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.run(&["node", "stop"])?.expect(0)?;
    drop(disk);
    world.close()
}

#[test]
fn a_full_database_stops_the_rows_and_not_the_calls_until_the_ledger_is_full() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let world = example::ai_world(exe(), &folder("ai"), &vendor)?;
    let kept = world.home().join("kept");
    world.add_settings(&format!(
        "[store]\npath = {:?}\n[ledger]\nsegment_bytes = {SEGMENT_BYTES}\nsegments_max = {SEGMENTS}\n",
        kept.display().to_string()
    ))?;
    let Some(database) = SmallDisk::mount(&kept, 8 << 20)? else {
        println!("skipped, 1: only root may mount a small disk");
        return Ok(());
    };
    let ledger = SmallDisk::mount(&kept.join("ledger"), 4 << 20)?.context("no second disk")?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let mut asker = Asker::new(&world)?;
    ensure!(asker.ask()?.status() == 200);
    world.run(&["ai", "usage"])?.expect(0)?;
    database.fill()?;
    // The log of the database has room of its own for a while.
    wait_until("a database that is full", LIMIT, || {
        ensure!(asker.ask()?.status() == 200, "refused too early");
        Ok(health(&world)?["behind"] == true)
    })?;
    ensure!(
        asker.ask()?.status() == 200,
        "a full database stopped a call"
    );
    let usage = world.run(&["ai", "usage"])?.expect(0)?;
    ensure!(usage.talk.contains("LG0621"), "{}", usage.talk);
    ensure!(usage.data.contains("fast"), "{}", usage.data);
    check_refusal(&asker.ask_until_refused()?)?;
    let now = health(&world)?;
    ensure!(now["full"] == true && now["segments"] == SEGMENTS, "{now}");
    // The last pages of a disk may still take a row or two in between.
    let stops = logged(&world, "the ledger waits for the database")?;
    ensure!((1..=TOLD_MAX).contains(&stops), "told {stops} times");
    database.free()?;
    asker.ask_until_taken()?;
    let again = logged(&world, "the database takes entries of the ledger again")?;
    ensure!(
        again == stops,
        "stopped {stops} times, went on {again} times"
    );
    compare_now(&world, &vendor, &asker.answers)?;
    // What only the running node believed would be gone now.
    lockgate_testkit::ledger::kill(&world)?;
    world.run(&["node", "start"])?.expect(0)?;
    let report = compare_now(&world, &vendor, &asker.answers)?;
    ensure!(report.differences == 0, "{:?}\n{report}", report.told);
    ensure!(report.rows == report.seen, "{report}");
    let now = health(&world)?;
    ensure!(now["behind"] == false && now["full"] == false, "{now}");
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.run(&["node", "stop"])?.expect(0)?;
    drop((ledger, database));
    world.close()
}
