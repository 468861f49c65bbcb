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

#[tokio::test]
async fn excluded_resources_are_left_alone_and_new_ones_skipped() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![
            res("a").set("x", 1.0),
            res("b").set("x", 1.0),
        ]))
        .await
        .good();
    stack.options.excludes = vec!["**::a".to_owned(), "**::new*".to_owned()];
    let wanted = program(vec![
        res("a").set("x", 2.0),
        res("b").set("x", 2.0),
        res("new1"),
        res("c"),
    ]);
    // Nothing like `new` is there yet, but the program names it.
    let mut ran = stack.up(wanted.clone()).await.good();
    ran.calls.sort();
    assert_eq!(ran.calls, ["create c", "update b"]);
    assert_eq!(stack.entry("a").inputs["x"], 1.0.into());
    assert!(stack.entries("new1").is_empty());
    stack.options.excludes = Vec::new();
    let mut steps = stack.up(wanted).await.good().steps();
    steps.sort();
    assert_eq!(steps, ["create new1", "update a"]);
}

#[tokio::test]
async fn a_resource_that_needs_an_excluded_new_one_fails_or_is_left_out_too() {
    let wanted = program(vec![
        res("a"),
        res("b").after("a"),
        res("c").link("x", "b"),
        res("d"),
    ]);
    let mut stack = Stack::default();
    stack.options.excludes = vec!["**::a".to_owned()];
    let ran = stack.up(wanted.clone()).await;
    assert_eq!(ran.errors(), ["LG0252"]);
    let mut stack = Stack::default();
    stack.options.excludes = vec!["**::a".to_owned()];
    stack.options.exclude_dependents = true;
    let ran = stack.up(wanted).await.good();
    assert_eq!(ran.calls, ["create d"]);
}

#[tokio::test]
async fn excludes_narrow_targets() {
    let mut stack = Stack::default();
    stack.options.targets = vec!["**::a*".to_owned()];
    stack.options.excludes = vec!["**::a2".to_owned()];
    let wanted = program(vec![res("a1"), res("a2"), res("b")]);
    let ran = stack.up(wanted).await.good();
    assert_eq!(ran.calls, ["create a1"]);
}

#[tokio::test]
async fn dependents_of_targets_are_targets_when_told() {
    let wanted = |x: f64| {
        program(vec![
            res("a").set("x", x),
            res("b").after("a").set("x", x),
            res("c").link("y", "b").set("x", x),
            res("d").set("x", x),
        ])
    };
    let mut stack = Stack::default();
    stack.up(wanted(1.0)).await.good();
    stack.options.targets = vec!["**::a".to_owned()];
    stack.options.target_dependents = true;
    let ran = stack.up(wanted(2.0)).await.good();
    assert_eq!(ran.calls, ["update a", "update b", "update c"]);
    // What a dependent leaves behind goes in the same run.
    stack.options.replace = vec!["**::c".to_owned()];
    let ran = stack.up(wanted(2.0)).await.good();
    assert_eq!(ran.calls, ["create c", "delete c"]);
    assert_eq!(stack.entries("c").len(), 1);
}

#[tokio::test]
async fn a_destroy_keeps_what_is_excluded_and_what_that_needs() {
    let all = || {
        program(vec![
            res("a"),
            res("b").after("a"),
            res("c").after("b"),
            res("d").after("a"),
        ])
    };
    let mut stack = Stack::default();
    stack.up(all()).await.good();
    stack.options.excludes = vec!["**::b".to_owned()];
    let mut ran = stack.destroy().await.good();
    ran.calls.sort();
    assert_eq!(ran.calls, ["delete c", "delete d"]);
    assert_eq!(stack.world.names(), ["a", "b"]);

    let mut stack = Stack::default();
    stack.up(all()).await.good();
    stack.options.excludes = vec!["**::b".to_owned()];
    stack.options.exclude_dependents = true;
    let ran = stack.destroy().await.good();
    assert_eq!(ran.calls, ["delete d"]);
    assert_eq!(stack.world.names(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_destroy_or_refresh_of_nothing_known_changes_nothing() {
    for operation in [Operation::Destroy, Operation::Refresh] {
        for exclude in [false, true] {
            let mut stack = Stack::default();
            stack.up(program(vec![res("a")])).await.good();
            let pattern = vec!["**::nobody".to_owned()];
            match exclude {
                true => stack.options.excludes = pattern,
                false => stack.options.targets = pattern,
            }
            let ran = stack.run(operation, None).await;
            assert_eq!(ran.errors(), ["LG0251"], "{operation:?}");
            assert_eq!(ran.calls, [""; 0], "{operation:?}");
        }
    }
}
