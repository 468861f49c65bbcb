//! Replacement: both orders, cascades, triggers, protection.

use lockgate_engine::event::RunResult;
use lockgate_model::Value;

use crate::program::{Stack, program, res};
use crate::world::Failure;

const FIRST: &str = "test:index:First";

#[tokio::test]
async fn the_new_resource_comes_first_by_default() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![
            res("a").set("fixed", 1.0),
            res("b").link("x", "a"),
        ]))
        .await
        .good();
    let old = stack.entry("a").id.clone();
    let wanted = program(vec![res("a").set("fixed", 2.0), res("b").link("x", "a")]);
    let preview = stack.preview(wanted.clone()).await.good();
    let ran = stack.up(wanted).await.good();
    assert_eq!(
        ran.steps(),
        [
            "create-replacement a",
            "replace a",
            "update b",
            "delete-replaced a"
        ]
    );
    assert_eq!(preview.steps(), ran.steps());
    assert_eq!(ran.calls, ["create a", "update b", "delete a"]);
    assert_ne!(stack.entry("a").id, old);
    assert_eq!(stack.world.names(), ["a", "b"]);
}

#[tokio::test]
async fn a_failed_replacement_leaves_the_old_resource_in_use() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a").set("fixed", 1.0)]))
        .await
        .good();
    let before = stack.entry("a").clone();
    stack.world.fail("create a", Failure::Refuse);
    let ran = stack.up(program(vec![res("a").set("fixed", 2.0)])).await;
    assert_eq!(ran.errors(), ["LG0245"]);
    assert_eq!(*stack.entry("a"), before);
}

#[tokio::test]
async fn a_failed_delete_of_the_old_one_is_done_by_the_next_run() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a").set("fixed", 1.0)]))
        .await
        .good();
    let wanted = program(vec![res("a").set("fixed", 2.0)]);
    stack.world.fail("delete a", Failure::Refuse);
    let ran = stack.up(wanted.clone()).await;
    assert_eq!(ran.result(), RunResult::Failed);
    assert_eq!(stack.entries("a").len(), 2);
    assert!(stack.entries("a")[1].delete);
    let ran = stack.up(wanted).await.good();
    assert_eq!(ran.steps(), ["delete-replaced a"]);
    assert_eq!(stack.world.names(), ["a"]);
    stack.entry("a");
}

#[tokio::test]
async fn delete_first_takes_dependents_that_must_be_replaced_along() {
    let mut stack = Stack::default();
    let wanted = |n: f64| {
        program(vec![
            res("a").kind(FIRST).set("fixed", n),
            res("b").link("fixed", "a"),
            res("c").link("loose", "b"),
        ])
    };
    stack.up(wanted(1.0)).await.good();
    let preview = stack.preview(wanted(2.0)).await.good();
    let ran = stack.up(wanted(2.0)).await.good();
    assert_eq!(
        ran.calls,
        ["delete b", "delete a", "create a", "create b", "update c"]
    );
    assert_eq!(
        ran.steps(),
        [
            "delete-replaced b",
            "delete-replaced a",
            "create-replacement a",
            "replace a",
            "create-replacement b",
            "update c",
        ]
    );
    assert_eq!(preview.steps(), ran.steps());
    assert_eq!(stack.world.names(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_dependent_that_left_the_program_is_only_deleted() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![
            res("a").kind(FIRST).set("fixed", 1.0),
            res("b").link("fixed", "a"),
        ]))
        .await
        .good();
    let ran = stack
        .up(program(vec![res("a").kind(FIRST).set("fixed", 2.0)]))
        .await
        .good();
    assert_eq!(ran.calls, ["delete b", "delete a", "create a"]);
    assert!(stack.entries("b").is_empty());
}

#[tokio::test]
async fn a_create_that_fails_after_delete_first_is_made_up_for() {
    let mut stack = Stack::default();
    let wanted = |n: f64| program(vec![res("a").kind(FIRST).set("fixed", n)]);
    stack.up(wanted(1.0)).await.good();
    stack.world.fail("create a", Failure::Refuse);
    stack.up(wanted(2.0)).await;
    assert!(stack.entry("a").pending_replacement);
    let ran = stack.up(wanted(2.0)).await.good();
    assert_eq!(ran.steps(), ["create-replacement a"]);
    assert_eq!(ran.calls, ["create a"]);
    assert!(!stack.entry("a").pending_replacement);
}

#[tokio::test]
async fn the_program_chooses_the_order() {
    let mut stack = Stack::default();
    let wanted = |n: f64, first: bool| {
        let a = res("a").set("fixed", n);
        program(vec![a.options(|o| o.delete_before_replace = Some(first))])
    };
    stack.up(wanted(1.0, true)).await.good();
    let ran = stack.up(wanted(2.0, true)).await.good();
    assert_eq!(ran.calls, ["delete a", "create a"]);
    let ran = stack.up(wanted(3.0, false)).await.good();
    assert_eq!(ran.calls, ["create a", "delete a"]);
}

#[tokio::test]
async fn a_protected_resource_is_not_replaced() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a").set("fixed", 1.0).protect()]))
        .await
        .good();
    let ran = stack
        .up(program(vec![res("a").set("fixed", 2.0).protect()]))
        .await;
    assert_eq!(ran.errors(), ["LG0247"]);
    assert_eq!(ran.calls, [""; 0]);
    let ran = stack
        .up(program(vec![res("a").set("fixed", 2.0)]))
        .await
        .good();
    assert_eq!(ran.calls, ["create a", "delete a"]);
}

#[tokio::test]
async fn a_protected_dependent_stops_the_cascade_before_anything_is_deleted() {
    let mut stack = Stack::default();
    let wanted = |n: f64| {
        program(vec![
            res("a").kind(FIRST).set("fixed", n),
            res("b").link("fixed", "a").protect(),
        ])
    };
    stack.up(wanted(1.0)).await.good();
    let ran = stack.up(wanted(2.0)).await;
    assert_eq!(ran.errors(), ["LG0247"]);
    assert_eq!(ran.calls, [""; 0]);
}

#[tokio::test]
async fn replace_on_changes_turns_an_update_into_a_replacement() {
    let mut stack = Stack::default();
    let wanted = |n: f64| {
        let tags: lockgate_model::PropertyMap =
            [("a".to_owned(), n.into()), ("b".to_owned(), n.into())].into();
        let a = res("a").set("tags", tags);
        program(vec![
            a.options(|o| o.replace_on_changes = vec!["tags.a".to_owned()]),
        ])
    };
    stack.up(wanted(1.0)).await.good();
    let ran = stack.up(wanted(2.0)).await.good();
    assert_eq!(ran.calls, ["create a", "delete a"]);
}

#[tokio::test]
async fn a_changed_trigger_replaces_and_a_new_one_does_not() {
    let mut stack = Stack::default();
    let wanted = |trigger: Option<Value>| {
        program(vec![res("a").options(|o| o.replacement_trigger = trigger)])
    };
    stack.up(wanted(None)).await.good();
    for (trigger, calls) in [
        (Some("1".into()), &[][..]),
        (Some("1".into()), &[]),
        (Some("2".into()), &["create a", "delete a"]),
        (
            Some(Value::from("s").into_secret()),
            &["create a", "delete a"],
        ),
        (Some(Value::from("s").into_secret()), &[]),
        (Some(Value::Null), &[]),
        (None, &[]),
    ] {
        let ran = stack.up(wanted(trigger.clone())).await.good();
        assert_eq!(ran.calls, calls, "{trigger:?}");
    }
    let text = format!("{:?}", stack.entry("a").extra);
    assert!(!text.contains("\"s\""), "{text}");
}

#[tokio::test]
async fn replace_with_and_deleted_with_follow_a_replacement() {
    let mut stack = Stack::default();
    let wanted = |n: f64| {
        let mut follower = res("follower").after("a");
        follower.replace_with = vec!["a".to_owned()];
        let mut inner = res("inner").after("a");
        inner.deleted_with = Some("a".to_owned());
        program(vec![res("a").set("fixed", n), follower, inner])
    };
    stack.up(wanted(1.0)).await.good();
    let ran = stack.up(wanted(2.0)).await.good();
    let mut creates: Vec<&String> = ran
        .calls
        .iter()
        .filter(|c| c.starts_with("create"))
        .collect();
    creates.sort();
    assert_eq!(creates, ["create a", "create follower", "create inner"]);
    assert_eq!(
        stack.world.names().iter().filter(|n| *n != "inner").count(),
        2
    );
}

#[tokio::test]
async fn a_resource_can_be_replaced_on_demand() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a"), res("b")])).await.good();
    stack.options.replace = vec!["**::a".to_owned()];
    let ran = stack.up(program(vec![res("a"), res("b")])).await.good();
    assert_eq!(ran.calls, ["create a", "delete a"]);
    stack.options.replace = vec!["**::nobody".to_owned()];
    let ran = stack.up(program(vec![res("a"), res("b")])).await;
    assert_eq!(ran.errors(), ["LG0251"]);
}
