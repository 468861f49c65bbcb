//! Large stacks: nothing is lost, and an unchanged stack costs one small record per resource.

use lockgate_model::JournalEntry;

use crate::program::{Program, Stack, program, res};

const COUNT: usize = 2000;

/// A fan with chains of ten, 2 KB of inputs each.
fn large(count: usize, extra: &str) -> Program {
    let filler = "x".repeat(2000);
    let resources = (0..count).map(|n| {
        let made = res(&format!("r{n}"))
            .set("filler", filler.as_str())
            .set("extra", extra);
        if n % 10 == 0 {
            made
        } else {
            made.link("from", &format!("r{}", n - 1))
        }
    });
    program(resources.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_stacks_lose_nothing_and_rest_cheaply() {
    let mut stack = Stack::default();
    stack.options.parallel = 64;
    let first = stack
        .start(lockgate_engine::Operation::Up, Some(large(COUNT, "a")))
        .await
        .good();
    assert_eq!(first.calls.len(), COUNT);
    stack.snapshot = first.outcome.snapshot;
    assert_eq!(stack.snapshot.resources.len(), COUNT + 2);

    let second = stack
        .start(lockgate_engine::Operation::Up, Some(large(COUNT, "a")))
        .await
        .good();
    assert_eq!(second.calls, [""; 0]);
    let kept = |entry: &&JournalEntry| matches!(entry, JournalEntry::Keep { .. });
    assert_eq!(second.journal.iter().filter(kept).count(), COUNT + 2);
}
