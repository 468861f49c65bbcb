//! The ledger against the vendor's own log, through hang-ups and a node that is killed.

use anyhow::{Result, ensure};
use lockgate_store::LEDGER_FAULT_POINTS;
use lockgate_testkit::ledger::{Plan, run, run_faults};

use crate::support::{example as folder, exe};

#[test]
fn every_call_that_the_vendor_saw_has_one_row_whatever_dies() -> Result<()> {
    let plan = Plan {
        clients: 16,
        requests: 2000,
        kills: 6,
        seed: 1,
        // Small ones, so that many are filled, applied and removed between two deaths.
        segment_bytes: Some(128 * 1024),
    };
    run(exe(), &folder("ai"), plan)?.check(&plan)
}

#[test]
fn a_node_that_dies_between_any_two_effects_of_the_ledger_loses_and_doubles_nothing() -> Result<()>
{
    // The first passing of these is the start of the node, where nothing else has happened yet;
    // calls are given up only there.
    const AT_START: [&str; 3] = ["ledger.recover", "ledger.rotate.made", "ledger.rotate.done"];
    let later = LEDGER_FAULT_POINTS
        .iter()
        .filter(|point| **point != AT_START[0]);
    let faults: Vec<String> = AT_START
        .map(|point| format!("{point}:1"))
        .into_iter()
        .chain(later.map(|point| format!("{point}:2")))
        .collect();
    let plan = Plan {
        clients: 8,
        requests: 1_000_000,
        kills: 0,
        seed: 7,
        segment_bytes: Some(64 * 1024),
    };
    let report = run_faults(exe(), &folder("ai"), plan, &faults)?;
    ensure!(report.differences == 0, "{:?}\n{report}", report.told);
    ensure!(report.rows >= report.kills, "{report}");
    Ok(())
}
