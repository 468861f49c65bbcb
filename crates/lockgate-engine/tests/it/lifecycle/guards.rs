//! What a run refuses: too many deletes, changes where none are expected, steps outside the plan.

use lockgate_engine::event::RunResult;
use lockgate_engine::{DeleteGuard, Operation};

use crate::program::{Stack, program, res};

fn many(count: usize) -> Vec<crate::program::Res> {
    (0..count).map(|n| res(&format!("r{n}"))).collect()
}

#[tokio::test]
async fn the_delete_guard_refuses_by_share_and_by_number() {
    for (guard, refused) in [
        (
            DeleteGuard {
                count_max: Some(3),
                share_max: None,
            },
            true,
        ),
        (
            DeleteGuard {
                count_max: Some(4),
                share_max: None,
            },
            false,
        ),
        (
            DeleteGuard {
                count_max: None,
                share_max: Some(0.39),
            },
            true,
        ),
        (
            DeleteGuard {
                count_max: None,
                share_max: Some(0.4),
            },
            false,
        ),
    ] {
        let mut stack = Stack::default();
        stack.up(program(many(10))).await.good();
        stack.options.delete_guard = Some(guard);
        for operation in [Operation::Preview, Operation::Up] {
            let ran = stack.run(operation, Some(program(many(6)))).await;
            let failed = ran.result() == RunResult::Failed;
            assert_eq!(failed, refused, "{guard:?}");
            if refused {
                assert_eq!(ran.errors(), ["LG0250"]);
                assert_eq!(stack.world.names().len(), 10);
            }
        }
        stack.destroy().await.good();
    }
}

#[tokio::test]
async fn replacements_do_not_count_as_deletes() {
    let mut stack = Stack::default();
    let wanted = |n: f64| program(vec![res("a").set("fixed", n)]);
    stack.options.delete_guard = Some(DeleteGuard {
        count_max: Some(0),
        share_max: Some(0.0),
    });
    stack.up(wanted(1.0)).await.good();
    stack.up(wanted(2.0)).await.good();
}

#[tokio::test]
async fn expected_quiet_refuses_the_first_change() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a").set("x", 1.0)])).await.good();
    stack.options.expect_no_changes = true;
    stack.up(program(vec![res("a").set("x", 1.0)])).await.good();
    let ran = stack.up(program(vec![res("a").set("x", 2.0)])).await;
    assert_eq!(ran.errors(), ["LG0249"]);
    assert_eq!(ran.calls, [""; 0]);
}

#[tokio::test]
async fn an_update_does_only_what_the_preview_showed() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a").set("x", 1.0), res("gone")]))
        .await
        .good();
    let wanted = program(vec![
        res("a").set("x", 2.0),
        res("b").link("y", "a").set("z", 1.0),
    ]);
    let plan = stack.preview(wanted.clone()).await.good().outcome.plan;
    stack.options.constraint = Some(plan);

    let other_value = program(vec![res("a").set("x", 3.0)]);
    let ran = stack.run(Operation::Up, Some(other_value)).await;
    assert_eq!(ran.errors(), ["LG0248"]);
    assert_eq!(ran.calls, [""; 0]);

    let other_step = program(vec![res("c")]);
    let ran = stack.run(Operation::Up, Some(other_step)).await;
    assert_eq!(ran.errors(), ["LG0248"]);
    assert_eq!(ran.calls, [""; 0]);

    let ran = stack.up(wanted).await.good();
    assert_eq!(ran.steps(), ["update a", "create b", "delete gone"]);
}
