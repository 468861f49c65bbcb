//! The comparison: what the vendor logged, what the ledger has, what the clients got.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Answer, Line, Prices, Report, name};
use crate::vendor::Seen;

/// Statuses that a call may have which the vendor saw, when the vendor itself never fails.
const SEEN: [&str; 4] = ["ok", "client_cancelled", "cut", "recovered"];
/// Statuses that a call may have which never reached the vendor.
const UNSEEN: [&str; 4] = ["client_cancelled", "cut", "recovered", "vendor_error"];
/// What stands for a token in the estimate of a request.
const BYTES_PER_TOKEN: u64 = 4;

/// A row of the ledger.
#[derive(Clone, Debug)]
struct Row<'v> {
    value: &'v Value,
    status: &'v str,
    exact: bool,
    input: u64,
    cached: u64,
    output: u64,
    cost: u128,
}

impl<'v> Row<'v> {
    fn new(value: &'v Value) -> Self {
        let usage = &value["usage"];
        let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
        Self {
            value,
            status: value["status"].as_str().unwrap_or_default(),
            exact: value["estimated"] == false,
            input: number(&usage["input"]),
            cached: number(&usage["cacheRead"]),
            output: number(&usage["output"]),
            cost: u128::from(number(&value["costMicros"])) * 1_000_000
                + u128::from(number(&value["costRestPico"])),
        }
    }

    /// A try that ended before the vendor could see it.
    fn is_failed_try(&self) -> bool {
        self.status == "vendor_error" && self.value["httpStatus"].is_null()
    }
}

/// Compares, in both directions. `calls` are rows as `lockgate ai calls --json` has them, `answers`
/// are by the number of the request, which its field `user` names.
pub fn compare(
    log: &[Seen],
    calls: &[Value],
    answers: &BTreeMap<u64, Answer>,
    prices: &Prices,
) -> Report {
    let mut report = Report {
        seen: log.len() as u64,
        rows: calls.len() as u64,
        ..Report::default()
    };
    let mut rows: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for call in calls {
        let request = call["request"].as_str().unwrap_or_default();
        if !ids.insert((request, call["attempt"].as_u64())) {
            report.duplicates += 1;
            report.tell(format!("two rows of one call: {call}"));
        }
        let row = Row::new(call);
        check_row(&mut report, &row, prices);
        rows.entry(request).or_default().push(row);
    }
    let by_name: BTreeMap<String, &Answer> = answers.iter().map(|(n, a)| (name(*n), a)).collect();
    let mut known = BTreeSet::new();
    for seen in log {
        if !known.insert(seen.request.as_str()) {
            report.duplicates += 1;
            report.tell(format!("{} went to the vendor twice", seen.request));
            continue;
        }
        let all = rows.remove(seen.request.as_str()).unwrap_or_default();
        let (tries, all): (Vec<_>, Vec<_>) = all.into_iter().partition(Row::is_failed_try);
        for row in &tries {
            check_unseen(&mut report, row);
        }
        match &all[..] {
            [row] => check_seen(&mut report, seen, row, answer_to(seen, &by_name)),
            [] => report.tell(format!("{} has no row", seen.request)),
            more => {
                report.duplicates += more.len() as u64 - 1;
                report.tell(format!("{} has {} rows", seen.request, more.len()));
            }
        }
    }
    for row in rows.values().flatten() {
        check_unseen(&mut report, row);
    }
    for (n, answer) in answers {
        let request = answer.request.as_deref();
        if answer.status == 200 && request.is_some_and(|request| !known.contains(request)) {
            report.tell(format!(
                "request {n} was answered without the vendor: {answer:?}"
            ));
        }
        if answer.status != 200 && answer.status != 0 {
            report.tell(format!("request {n} was refused: {answer:?}"));
        }
    }
    report
}

/// What the client got whose request the vendor saw.
fn answer_to<'a>(seen: &Seen, answers: &BTreeMap<String, &'a Answer>) -> Option<&'a Answer> {
    let body: Value = serde_json::from_str(&seen.body).ok()?;
    answers.get(body["user"].as_str()?).copied()
}

/// What holds for every row: legal, priced exactly, nothing in counts that nobody fills.
fn check_row(report: &mut Report, row: &Row<'_>, prices: &Prices) {
    let value = row.value;
    if row.status == "open" || value["endedAt"].is_null() {
        report.tell(format!("a call has no end: {value}"));
    }
    for name in ["cacheWrite", "inputAudio", "reasoning", "outputAudio"] {
        if value["usage"][name] != 0 {
            report.tell(format!("tokens that nobody told: {value}"));
        }
    }
    let model = value["vendorModel"].as_str().unwrap_or_default();
    let expected = prices.cost(model, row.input, row.cached, row.output);
    if expected != Some(row.cost) || value["costRestPico"].as_u64() >= Some(1_000_000) {
        report.tell(format!("the cost should be {expected:?}: {value}"));
    }
}

/// A call that the vendor saw, its only row, and what its client got.
fn check_seen(report: &mut Report, seen: &Seen, row: &Row<'_>, answer: Option<&Answer>) {
    let value = row.value;
    let got = answer.map_or(0, |answer| answer.words);
    if !SEEN.contains(&row.status) {
        report.tell(format!("no status of a call to a sound vendor: {value}"));
    }
    if answer.is_some_and(|answer| answer.whole) && row.status != "ok" {
        report.tell(format!("the client got all of it: {value}"));
    }
    if row.status == "ok" && !row.exact {
        report.tell(format!("an estimate for a complete call: {value}"));
    }
    if row.exact && row.status == "recovered" {
        report.tell(format!(
            "nobody told the tokens of a recovered call: {value}"
        ));
    }
    let vendor = (seen.input - seen.cached, seen.cached, seen.output);
    let ledger = (row.input, row.cached, row.output);
    let difference =
        vendor.0.abs_diff(ledger.0) + vendor.1.abs_diff(ledger.1) + vendor.2.abs_diff(ledger.2);
    if row.exact && difference > 0 {
        report.tell(format!("the vendor told {vendor:?}: {value}"));
    }
    if !row.exact {
        if !(got..=seen.output).contains(&row.output) {
            report.tell(format!(
                "the client got {got} words, the vendor wrote {}: {value}",
                seen.output
            ));
        }
        let bytes = answer.map(|answer| answer.body_bytes);
        let estimate = bytes.map(|bytes| bytes.div_ceil(BYTES_PER_TOKEN));
        if estimate.is_some_and(|estimate| estimate != row.input) || row.cached != 0 {
            report.tell(format!("the estimate of {bytes:?} bytes: {value}"));
        }
    }
    let line: &mut Line = report.lines.entry(row.status.to_owned()).or_default();
    line.seen += 1;
    line.rows += 1;
    line.exact += u64::from(row.exact);
    line.got += got;
    line.difference += if row.exact { difference } else { 0 };
    for (sum, vendor, ledger) in [
        (&mut line.input, seen.input, row.input + row.cached),
        (&mut line.cached, seen.cached, row.cached),
        (&mut line.output, seen.output, row.output),
    ] {
        sum.0 += vendor;
        sum.1 += ledger;
    }
    line.cost += row.cost;
}

/// A row of a call that the vendor never saw: nothing was written, and what it costs is an
/// estimate that says so, or nothing.
fn check_unseen(report: &mut Report, row: &Row<'_>) {
    let value = row.value;
    if !UNSEEN.contains(&row.status) || row.output != 0 || row.cached != 0 {
        report.tell(format!("the vendor never saw it: {value}"));
    }
    let free = row.cost == 0 && row.input == 0;
    if !free && (row.exact || row.status == "vendor_error") {
        report.tell(format!(
            "spent on a call that the vendor never saw: {value}"
        ));
    }
    let sum = report.unseen.entry(row.status.to_owned()).or_default();
    sum.0 += 1;
    sum.1 += row.cost;
}
