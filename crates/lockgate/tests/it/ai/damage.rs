//! A ledger whose files the disk has changed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::chat::Api;
use lockgate_testkit::ledger::{kill, serve_with_fault, settled};
use lockgate_testkit::vendor::Vendor;
use lockgate_testkit::world::wait_until;
use lockgate_testkit::{World, example};

use crate::support::{example as folder, exe};

const LIMIT: Duration = Duration::from_secs(60);
const CLIENTS: u64 = 8;

/// Lets a node die before it brings any of its calls into the database; how many were answered.
fn calls_in_files_only(world: &World) -> Result<u64> {
    // What is known to the database is not read again.
    settled(world)?;
    kill(world)?;
    let mut node = serve_with_fault(world, "ledger.apply.rows")?;
    let api = Api::of(world);
    let (over, good) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let Ok(api) = &api else { return };
                while !over.load(Ordering::Acquire) {
                    let got = api.chat(&Api::body("fast", false, 2), usize::MAX);
                    let whole = got.is_ok_and(|got| got.is_whole());
                    good.fetch_add(u64::from(whole), Ordering::AcqRel);
                }
            });
        }
        let died = wait_until("the fault", LIMIT, || Ok(node.try_wait()?.is_some()));
        over.store(true, Ordering::Release);
        died
    })?;
    Ok(good.load(Ordering::Acquire))
}

/// The file that the dead node wrote to last, and where its entries end.
fn last_segment(world: &World) -> Result<(PathBuf, Vec<u8>, usize)> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(world.home().join("node/ledger"))? {
        let path = entry?.path();
        let bytes = fs_err::read(&path)?;
        let end = bytes.iter().rposition(|b| *b != 0);
        found.extend(end.map(|end| (path, bytes, end + 1)));
    }
    found.sort();
    found.pop().context("no entries")
}

/// Changes the bytes of a segment, whose entries end where the number says.
type Spoil = fn(&mut [u8], usize);

#[test]
fn damage_is_told_kept_aside_and_invents_nothing() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let world = example::ai_world(exe(), &folder("ai"), &vendor)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let api = Api::of(&world)?;
    ensure!(
        api.chat(&Api::body("fast", false, 1), usize::MAX)?
            .is_whole()
    );
    let mut lost = 0;
    let flip: Spoil = |bytes, end| bytes[end / 2] ^= 0x10;
    let tear: Spoil = |bytes, end| bytes[end - 5..].fill(0);
    for (name, spoil) in [("a flipped byte", flip), ("a torn tail", tear)] {
        let good = calls_in_files_only(&world)?;
        ensure!(good > 0, "{name}: no call before the fault");
        let (path, mut bytes, end) = last_segment(&world)?;
        spoil(&mut bytes, end);
        fs_err::write(&path, bytes)?;
        world.run(&["node", "start"])?.expect(0)?;

        let aside = path.with_extension("damaged");
        ensure!(
            aside.is_file() && !path.exists(),
            "{name}: {}",
            aside.display()
        );
        let log = fs_err::read_to_string(world.home().join("node/node.log"))?;
        let file = path.display().to_string();
        let told = log.lines().filter(|line| {
            line.contains("a segment of the ledger is damaged")
                && line.contains(&file)
                && line.contains("offset")
        });
        ensure!(told.count() == 1, "{name}: {log}");

        lost += 1;
        let usage = world.run(&["ai", "usage"])?.expect(0)?;
        ensure!(
            usage.talk.contains("LG0620") && usage.talk.contains("calls may be missing"),
            "{name}: {}",
            usage.talk
        );
        let calls = settled(&world)?;
        let seen: BTreeSet<String> = vendor.log().into_iter().map(|seen| seen.request).collect();
        let under_way = calls.iter().filter(|call| call["status"] == "recovered");
        ensure!(
            under_way.count() as u64 <= lost * (CLIENTS + 1),
            "{name}: calls that were settled are not: {calls:?}"
        );
        for call in &calls {
            let request = call["request"].as_str().unwrap_or_default();
            let status = &call["status"];
            ensure!(status == "ok" || status == "recovered", "{name}: {call}");
            ensure!(
                status != "ok" || seen.contains(request),
                "{name}: invented: {call}"
            );
        }
        let known: BTreeSet<&str> = calls.iter().filter_map(|c| c["request"].as_str()).collect();
        ensure!(known.len() == calls.len(), "{name}: a call has two rows");
        let missing = seen
            .iter()
            .filter(|id| !known.contains(id.as_str()))
            .count() as u64;
        ensure!(missing <= lost, "{name}: {missing} calls are missing");

        fs_err::remove_file(&aside)?;
        let usage = world.run(&["ai", "usage"])?.expect(0)?;
        ensure!(!usage.talk.contains("LG0620"), "{name}: {}", usage.talk);
    }
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}
