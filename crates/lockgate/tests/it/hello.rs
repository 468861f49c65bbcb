//! The quickstart, whole: what the README promises.

use anyhow::Result;
use lockgate_testkit::example;

use crate::support::{example as folder, exe};

#[test]
fn hello_goes_from_source_to_a_governed_endpoint_and_back() -> Result<()> {
    let report = example::hello(exe(), &folder("hello"))?;
    assert_eq!(report.answer.body, "hello, hello/dev/caller\n");
    assert!(
        report
            .first
            .data
            .contains("try it: curl -H 'x-api-key: lgk_"),
        "no ready curl line: {}",
        report.first.data
    );
    assert_eq!(
        report.without_key.header("content-type"),
        Some("application/problem+json")
    );
    assert!(
        report.no_op.talk.contains("no changes"),
        "{}",
        report.no_op.talk
    );
    assert_eq!(
        report.seen.bad, 0,
        "lost during the switch: {:?}",
        report.seen.reasons
    );
    assert_eq!(report.seen.bodies.len(), 2, "{:?}", report.seen.bodies);
    let changed: Vec<&str> = ["compile", "image", "gate", "web"]
        .into_iter()
        .filter(|name| report.edited.talk.contains(&format!(" {name}  ")))
        .collect();
    assert_eq!(
        changed,
        ["compile", "image", "gate", "web"],
        "{}",
        report.edited.talk
    );
    for name in ["route", "caller", "key"] {
        let line = format!(" {name}  ");
        assert!(
            !report.edited.talk.contains(&line),
            "{name} changed: {}",
            report.edited.talk
        );
    }
    Ok(())
}
