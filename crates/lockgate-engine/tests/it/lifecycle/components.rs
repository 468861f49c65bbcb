//! Components, their outputs, and the outputs of the stack.

use lockgate_engine::Operation;
use lockgate_engine::event::RunResult;
use lockgate_model::{PropertyMap, Value};

use crate::program::{Program, Stack, component, program, res};

fn map(pairs: &[(&str, f64)]) -> PropertyMap {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::Number(*value)))
        .collect()
}

#[tokio::test]
async fn components_call_no_provider_and_keep_what_they_register() {
    let mut stack = Stack::default();
    let wanted = |n: f64| {
        let mut web = component("web").set("size", 1.0);
        web.outputs = Some(map(&[("port", n)]));
        program(vec![web, res("a").parent("web")])
    };
    let ran = stack.up(wanted(1.0)).await.good();
    assert_eq!(ran.calls, ["create a"]);
    let web = stack.entry("web");
    assert_eq!((web.id.as_str(), web.custom), ("", false));
    assert_eq!(web.outputs, map(&[("port", 1.0)]));
    let created = web.created;

    stack.up(wanted(2.0)).await.good();
    assert_eq!(stack.entry("web").outputs, map(&[("port", 2.0)]));
    assert_eq!(stack.entry("web").created, created);
    let ran = stack.up(program(vec![])).await.good();
    assert_eq!(ran.calls, ["delete a"]);
    assert!(stack.entries("web").is_empty());
}

#[tokio::test]
async fn changed_inputs_update_a_component() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![component("web").set("size", 1.0)]))
        .await
        .good();
    let ran = stack
        .up(program(vec![component("web").set("size", 2.0)]))
        .await
        .good();
    assert_eq!(ran.steps(), ["update web"]);
    assert_eq!(stack.entry("web").inputs, map(&[("size", 2.0)]));
}

#[tokio::test]
async fn a_component_and_a_managed_resource_replace_each_other() {
    let mut stack = Stack::default();
    let managed = || res("x").kind("test:index:Both");
    let local = || component("x").kind("test:index:Both");
    stack.up(program(vec![managed()])).await.good();
    let ran = stack.up(program(vec![local()])).await.good();
    assert_eq!(ran.calls, ["delete x"]);
    assert!(!stack.entry("x").custom);
    let ran = stack.up(program(vec![managed()])).await.good();
    assert_eq!(ran.calls, ["create x"]);
    assert!(stack.entry("x").custom);
}

#[tokio::test]
async fn stack_outputs_are_taken_whole_when_the_run_goes_well() {
    let mut stack = Stack::default();
    let with = |outputs: PropertyMap, fails: bool| Program {
        resources: vec![res("a")],
        outputs,
        fails,
    };
    let ran = stack
        .up(with(map(&[("x", 1.0), ("y", 1.0)]), false))
        .await
        .good();
    assert_eq!(ran.outcome.outputs, map(&[("x", 1.0), ("y", 1.0)]));
    let ran = stack.up(with(map(&[("x", 2.0)]), false)).await.good();
    assert_eq!(ran.outcome.outputs, map(&[("x", 2.0)]));
    assert_eq!(stack.entry("shop-dev").outputs, map(&[("x", 2.0)]));

    let ran = stack.up(with(map(&[("z", 3.0)]), true)).await;
    assert_eq!(ran.result(), RunResult::Failed);
    assert_eq!(
        stack.entry("shop-dev").outputs,
        map(&[("x", 2.0), ("z", 3.0)])
    );

    let ran = stack.run(Operation::Refresh, None).await.good();
    let wanted = map(&[("x", 2.0), ("z", 3.0)]);
    assert_eq!(ran.outcome.outputs, wanted);
    let ran = stack.destroy().await.good();
    assert!(ran.outcome.outputs.is_empty());
}
