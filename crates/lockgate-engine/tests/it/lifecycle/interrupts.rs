//! The two interrupts, and a journal that breaks.

use lockgate_engine::Operation;
use lockgate_engine::event::RunResult;

use crate::program::{Stack, program, res};

#[tokio::test]
async fn nothing_starts_after_the_first_interrupt() {
    let mut stack = Stack::default();
    stack.interrupts.stop.cancel();
    let ran = stack
        .run(Operation::Up, Some(program(vec![res("a")])))
        .await;
    assert_eq!(ran.result(), RunResult::Canceled);
    assert_eq!(ran.calls, [""; 0]);
}

#[tokio::test]
async fn a_running_step_finishes_and_is_remembered() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("gone")])).await.good();
    let stop = stack.interrupts.stop.clone();
    stack.world.0.lock().trap = Some(("create a".to_owned(), stop));
    let ran = stack.up(program(vec![res("a"), res("b").after("a")])).await;
    assert_eq!(ran.result(), RunResult::Canceled);
    assert_eq!(ran.calls, ["create a"]);
    stack.entry("a");
    stack.entry("gone");
    assert!(stack.snapshot.pending.is_empty());
}

#[tokio::test]
async fn an_interrupted_destroy_keeps_the_rest() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a"), res("b").after("a")]))
        .await
        .good();
    let stop = stack.interrupts.stop.clone();
    stack.world.0.lock().trap = Some(("delete b".to_owned(), stop));
    let ran = stack.destroy().await;
    assert_eq!(ran.result(), RunResult::Canceled);
    assert_eq!(ran.calls, ["delete b"]);
    stack.entry("a");
    assert!(stack.entries("b").is_empty());
}

#[tokio::test]
async fn a_broken_journal_stops_the_run_before_the_call() {
    let mut stack = Stack::default();
    stack.up(program(vec![])).await.good();
    stack.journal_limit = 1;
    let ran = stack.up(program(vec![res("a")])).await;
    assert_eq!(ran.result(), RunResult::Failed);
    assert!(ran.errors().contains(&"LG0257"), "{:?}", ran.errors());
    assert_eq!(ran.calls, [""; 0], "no call without a durable intent");
}
