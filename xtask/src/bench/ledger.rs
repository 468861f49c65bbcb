//! `cargo xtask bench ledger`: the ledger beside the vendor's log, after load with hang-ups and a
//! node that is killed again and again. Fails on any difference.

use anyhow::{Context as _, Result, bail};
use lockgate_testkit::ledger::{Plan, run as run_plan};

use crate::{build, root};

/// Runs the full size unless flags say otherwise, prints the table, and checks it.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut plan = Plan {
        clients: 32,
        requests: 20_000,
        kills: 20,
        seed: 1,
        segment_bytes: None,
    };
    for pair in args.chunks(2) {
        let [flag, value] = pair else {
            bail!("`{}` needs a number", pair[0]);
        };
        let value: u64 = value.parse().with_context(|| format!("{flag} {value}"))?;
        match flag.as_str() {
            "--requests" => plan.requests = value,
            "--kills" => plan.kills = value,
            "--clients" => plan.clients = value,
            "--seed" => plan.seed = value,
            "--segment-bytes" => plan.segment_bytes = Some(value),
            _ => bail!(
                "no flag `{flag}`; there are: --requests, --kills, --clients, --seed, --segment-bytes"
            ),
        }
    }
    let exe = build(true)?;
    let report = run_plan(&exe, &root()?.join("examples/ai"), plan)?;
    println!("{report}");
    report.check(&plan)
}
