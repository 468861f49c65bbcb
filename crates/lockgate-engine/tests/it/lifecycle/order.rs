//! Parallel work: bounded, and in order of dependency where it matters.

use lockgate_engine::Operation;
use lockgate_model::JournalEntry;

use crate::program::{Stack, program, res};

#[tokio::test]
async fn mutations_run_in_parallel_up_to_the_bound() {
    for parallel in [1, 4] {
        let mut stack = Stack::default();
        stack.options.parallel = parallel;
        let wanted: Vec<_> = (0..20).map(|n| res(&format!("r{n}"))).collect();
        stack.up(program(wanted)).await.good();
        assert_eq!(stack.world.0.lock().running_max, parallel);
        stack.destroy().await.good();
        assert_eq!(stack.world.0.lock().running_max, parallel);
    }
}

#[tokio::test]
async fn every_call_stands_between_its_begin_and_its_end() {
    let mut stack = Stack::default();
    let ran = stack
        .run(
            Operation::Up,
            Some(program(vec![res("a"), res("b").link("x", "a")])),
        )
        .await
        .good();
    let shape: Vec<String> = ran
        .journal
        .iter()
        .filter_map(|entry| match entry {
            JournalEntry::Begin { resource, .. } if !resource.is_provider() => Some(format!(
                "begin {}",
                resource.urn.as_ref().expect("urn").name()
            )),
            JournalEntry::Done {
                step: Some(_),
                add: Some((_, state)),
                ..
            } if !state.is_provider() => {
                Some(format!("done {}", state.urn.as_ref().expect("urn").name()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(shape, ["begin a", "done a", "begin b", "done b"]);
}

#[tokio::test]
async fn two_resources_may_swap_their_dependency() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![
            res("a").set("fixed", 1.0),
            res("b").set("fixed", 1.0).after("a"),
        ]))
        .await
        .good();
    stack
        .up(program(vec![
            res("b").set("fixed", 2.0),
            res("a").set("fixed", 2.0).after("b"),
        ]))
        .await
        .good();
    assert_eq!(stack.world.names(), ["a", "b"]);
    stack
        .up(program(vec![
            res("a").set("x", 1.0).set("fixed", 2.0),
            res("b").set("fixed", 2.0).after("a"),
        ]))
        .await
        .good();
    stack.destroy().await.good();
    assert!(stack.world.names().is_empty());
}
