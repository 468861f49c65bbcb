//! Runs over a part of the stack.

use lockgate_engine::Operation;

use crate::program::{Stack, program, res};

#[tokio::test]
async fn only_targets_change_and_new_ones_outside_are_skipped() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![
            res("a").set("x", 1.0),
            res("b").set("x", 1.0),
        ]))
        .await
        .good();
    stack.options.targets = vec!["**::a".to_owned()];
    let ran = stack
        .up(program(vec![
            res("a").set("x", 2.0),
            res("b").set("x", 2.0),
            res("c"),
        ]))
        .await
        .good();
    assert_eq!(ran.calls, ["update a"]);
    assert_eq!(stack.entry("b").inputs["x"], 1.0.into());
    assert!(stack.entries("c").is_empty());
}

#[tokio::test]
async fn a_target_cannot_need_a_skipped_resource() {
    let mut stack = Stack::default();
    stack.options.targets = vec!["**::b".to_owned()];
    let ran = stack.up(program(vec![res("a"), res("b").after("a")])).await;
    assert_eq!(ran.errors(), ["LG0252"]);
    assert_eq!(ran.calls, [""; 0]);
}

#[tokio::test]
async fn an_unknown_target_is_an_error() {
    let mut stack = Stack::default();
    stack.options.targets = vec!["**::nobody".to_owned()];
    let ran = stack.up(program(vec![res("a")])).await;
    assert_eq!(ran.errors(), ["LG0251"]);
}

#[tokio::test]
async fn deletes_outside_the_targets_do_not_happen() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a"), res("b"), res("c")]))
        .await
        .good();
    stack.options.targets = vec!["**::a".to_owned()];
    let ran = stack.up(program(vec![res("c")])).await.good();
    assert_eq!(ran.calls, ["delete a"]);
    assert_eq!(stack.world.names(), ["b", "c"]);
}

#[tokio::test]
async fn a_targeted_destroy_takes_dependents_only_when_told() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a"), res("b").after("a"), res("c")]))
        .await
        .good();
    stack.options.targets = vec!["**::a".to_owned()];
    let ran = stack.run(Operation::Destroy, None).await;
    assert_eq!(ran.errors(), ["LG0252"]);
    assert_eq!(ran.calls, [""; 0]);
    stack.options.target_dependents = true;
    let ran = stack.destroy().await.good();
    assert_eq!(ran.calls, ["delete b", "delete a"]);
    assert_eq!(stack.world.names(), ["c"]);
}
