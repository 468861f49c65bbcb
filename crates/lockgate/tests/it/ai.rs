//! AI routes through the front door: the published SDK, a ledger that agrees with the vendor,
//! vendors that misbehave.

mod damage;
mod disk;
mod faults;
mod ledger;
mod tls;

use std::collections::BTreeMap;

use anyhow::Result;
use lockgate_testkit::{example, vendor};
use serde_json::Value;

use crate::support::{example as folder, exe};

#[test]
fn the_published_sdk_is_served_and_every_call_is_in_the_ledger() -> Result<()> {
    let report = example::ai(exe(), &folder("ai"))?;
    let expected = "models embed,fast\n\
        answer 8 tok tok tok tok tok tok tok tok\n\
        stream 8\n\
        stream with usage 8\n\
        embedding [0.5, -0.25]\n\
        unknown model model_not_found\n\
        wrong key invalid_api_key\n";
    assert_eq!(report.asked.data, expected, "{}", report.asked.talk);
    assert!(
        report.no_op.talk.contains("no changes"),
        "{}",
        report.no_op.talk
    );
    assert_eq!(report.leaks, Vec::<std::path::PathBuf>::new());
    assert_eq!(report.seen.len(), 4);
    let rows = by_request(&report.usage);
    assert_eq!(rows.len(), report.seen.len());
    for seen in &report.seen {
        let row = rows[&seen.request];
        assert_eq!(row["status"], "ok");
        assert_eq!(row["estimated"], false);
        assert_eq!(row["usage"]["input"], seen.input);
        assert_eq!(row["usage"]["output"], seen.output);
        assert_eq!(row["consumer"], "ai/dev/caller");
        let (input, output) = match row["operation"].as_str() {
            Some("chat") => (150_000, 600_000),
            _ => (20_000, 0),
        };
        let pico = seen.input * input + seen.output * output;
        assert_eq!(row["costMicros"], pico / 1_000_000);
        assert_eq!(row["costRestPico"], pico % 1_000_000);
        let head = seen.head.to_lowercase();
        assert!(!head.contains("lgk_"), "our key went to the vendor: {head}");
        assert!(seen.body.contains("\"model\":\"test-"), "{}", seen.body);
        assert!(head.contains(&format!("bearer {}", vendor::KEY)));
    }
    assert!(
        report.usage_text.data.contains("ai/dev/vendor  test-small"),
        "{}",
        report.usage_text.data
    );
    Ok(())
}

/// Rows of the ledger by the id of the request; each request was one call.
fn by_request(usage: &Value) -> BTreeMap<String, &Value> {
    let calls = usage["calls"].as_array().expect("a list of calls");
    let rows: BTreeMap<String, &Value> = calls
        .iter()
        .map(|call| {
            (
                call["request"].as_str().unwrap_or_default().to_owned(),
                call,
            )
        })
        .collect();
    assert_eq!(rows.len(), calls.len(), "a call has two rows");
    rows
}
