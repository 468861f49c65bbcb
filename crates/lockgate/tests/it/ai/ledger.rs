//! The ledger against the vendor's own log, through hang-ups and a node that is killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::vendor::{Seen, Vendor};
use lockgate_testkit::world::wait_until;
use lockgate_testkit::{World, example};
use serde_json::Value;

use super::by_request;
use super::client::{Api, Got};
use crate::support::{example as folder, exe};

const CLIENTS: u64 = 6;
const SHOTS: u64 = 50;
const KILLS: u64 = 4;
const WORDS: u64 = 24;
/// A stream of that many words is about as long in bytes.
const BYTES: u64 = 4500;
const LIMIT: Duration = Duration::from_secs(60);

/// A number that looks random and is the same in every run (splitmix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Asks until the node takes the connection; half are streams, a third hang up early.
fn shoot(api: &Api, n: u64, over: &AtomicBool) -> Option<Got> {
    let dice = mix(n);
    let body = Api::body("fast", dice & 1 == 0, 1 + (dice >> 8) % WORDS);
    let bytes = match (dice >> 1) % 3 {
        0 => 1 + (dice >> 16) % BYTES,
        _ => u64::MAX,
    };
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    while !over.load(Ordering::Acquire) {
        match api.chat(&body, bytes) {
            Ok(got) if got.status() != 503 => return Some(got),
            // The node is down, or not yet up again.
            _ => std::thread::park_timeout(Duration::from_millis(2)),
        }
    }
    None
}

fn kill_node(world: &World) -> Result<()> {
    let status = ["node", "status", "--json"];
    let status = world.run(&status)?.expect(0)?.json()?;
    let pid = status["pid"].as_u64().context("no pid")?.to_string();
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid])
        .status()?;
    ensure!(killed.success(), "kill: {killed}");
    wait_until("the node's end", LIMIT, || {
        Ok(!Path::new("/proc").join(&pid).exists())
    })?;
    world.run(&["node", "start"])?.expect(0)?;
    Ok(())
}

#[test]
fn every_call_that_the_vendor_saw_has_one_row_whatever_dies() -> Result<()> {
    let vendor = Vendor::start(Duration::from_millis(1))?;
    let world = example::ai_world(exe(), &folder("ai"), &vendor)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let api = Api::of(&world)?;
    let over = AtomicBool::new(false);
    let shot = AtomicU64::new(0);
    let (killed, got) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (api, over, shot) = (&api, &over, &shot);
                scope.spawn(move || {
                    let shots = client * SHOTS..(client + 1) * SHOTS;
                    let fired = shots.filter_map(|n| {
                        let got = shoot(api, n, over);
                        shot.fetch_add(1, Ordering::AcqRel);
                        got
                    });
                    fired.collect::<Vec<Got>>()
                })
            })
            .collect();
        let kills = || -> Result<()> {
            for kill in 1..=KILLS {
                let due = kill * CLIENTS * SHOTS / (KILLS + 1);
                wait_until("the clients", LIMIT, || {
                    Ok(shot.load(Ordering::Acquire) >= due)
                })?;
                kill_node(&world)?;
            }
            Ok(())
        };
        let killed = kills();
        over.store(killed.is_err(), Ordering::Release);
        let got = clients.into_iter().filter_map(|c| c.join().ok()).flatten();
        (killed, got.collect::<Vec<Got>>())
    });
    killed?;
    let usage = settled(&world)?;
    compare(&usage, &vendor.log(), &got)?;
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

/// The ledger once no call is under way.
fn settled(world: &World) -> Result<Value> {
    let mut usage = Value::Null;
    wait_until("the last calls", LIMIT, || {
        let args = ["ai", "usage", "--json"];
        usage = world.run(&args)?.expect(0)?.json()?;
        let calls = usage["calls"].as_array().context("no calls")?;
        Ok(calls.iter().all(|call| call["status"] != "open"))
    })?;
    Ok(usage)
}

fn compare(usage: &Value, log: &[Seen], got: &[Got]) -> Result<()> {
    let rows = by_request(usage);
    let read: BTreeMap<&str, &Got> = got
        .iter()
        .filter_map(|got| Some((got.request()?, got)))
        .collect();
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut seen_ids = std::collections::BTreeSet::new();
    for seen in log {
        ensure!(
            seen_ids.insert(&seen.request),
            "{} went to the vendor twice",
            seen.request
        );
        let row = rows.get(&seen.request);
        let row = row.with_context(|| format!("{} has no row", seen.request))?;
        let status = row["status"].as_str().context("no status")?;
        *kinds.entry(status).or_default() += 1;
        let output = row["usage"]["output"].as_u64().context("no output")?;
        let exact = row["estimated"] == false;
        let client = read.get(seen.request.as_str());
        let words = client.map_or(0, |got| got.words());
        if status == "ok" || client.is_some_and(|got| got.is_whole()) {
            ensure!(status == "ok" && exact, "{row}");
            ensure!(row["usage"]["input"] == seen.input, "{row} {seen:?}");
            ensure!(output == seen.output, "{row} {seen:?}");
        } else {
            ensure!(
                ["client_cancelled", "cut", "recovered"].contains(&status),
                "{row}"
            );
            ensure!(
                (words..=seen.output).contains(&output),
                "the client got {words}, the vendor wrote {}, the ledger says {row}",
                seen.output
            );
        }
    }
    ensure!(
        log.len() as u64 > CLIENTS * SHOTS * 3 / 4,
        "{} calls",
        log.len()
    );
    for kind in ["ok", "client_cancelled", "recovered"] {
        ensure!(kinds.contains_key(kind), "no call was {kind}: {kinds:?}");
    }
    Ok(())
}
