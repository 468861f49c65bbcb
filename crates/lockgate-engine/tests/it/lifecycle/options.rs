//! Options of resources: protect, ignoreChanges, retainOnDelete, deletedWith, timeouts,
//! dependsOn, explicit providers, version.

use lockgate_engine::event::RunResult;
use lockgate_model::{PropertyMap, Value};

use crate::program::{Stack, component, program, res};

#[tokio::test]
async fn one_run_names_every_protected_resource() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![
            res("a").protect(),
            res("b").protect(),
            res("c").after("a"),
            res("base"),
            res("d").after("base").protect(),
        ]))
        .await
        .good();
    let ran = stack.up(program(vec![])).await;
    assert_eq!(ran.result(), RunResult::Failed);
    assert_eq!(ran.errors(), ["LG0247", "LG0247", "LG0247"]);
    assert_eq!(ran.calls, ["delete c"]);
    assert_eq!(stack.world.names(), ["a", "b", "base", "d"]);
}

#[tokio::test]
async fn children_inherit_protection() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![
            component("web").protect(),
            res("a").parent("web"),
            res("b").parent("web").options(|o| o.protect = Some(false)),
        ]))
        .await
        .good();
    assert!(stack.entry("a").protect);
    assert!(!stack.entry("b").protect);
}

#[tokio::test]
async fn ignored_changes_reach_no_provider() {
    let mut stack = Stack::default();
    let wanted = |n: f64, m: f64| {
        let item: PropertyMap = [("p".to_owned(), n.into()), ("q".to_owned(), m.into())].into();
        let list = Value::List(vec![Value::Map(item)]);
        let a = res("a").set("list", list);
        program(vec![
            a.options(|o| o.ignore_changes = vec!["list[*].p".to_owned()]),
        ])
    };
    stack.up(wanted(1.0, 1.0)).await.good();
    let ran = stack.up(wanted(2.0, 1.0)).await.good();
    assert_eq!(ran.calls, [""; 0]);
    let ran = stack.up(wanted(3.0, 2.0)).await.good();
    assert_eq!(ran.calls, ["update a"]);
    let Value::List(items) = &stack.entry("a").inputs["list"] else {
        panic!("a list");
    };
    let item = items[0].as_map().expect("a map");
    assert_eq!((&item["p"], &item["q"]), (&1.0.into(), &2.0.into()));
}

#[tokio::test]
async fn a_malformed_path_is_an_error() {
    let mut stack = Stack::default();
    let a = res("a").options(|o| o.ignore_changes = vec!["a[".to_owned()]);
    let ran = stack.up(program(vec![a])).await;
    assert_eq!(ran.errors(), ["LG0259"]);
}

#[tokio::test]
async fn retained_resources_are_forgotten_and_not_deleted() {
    let mut stack = Stack::default();
    let a = res("a").options(|o| o.retain_on_delete = Some(true));
    stack.up(program(vec![a])).await.good();
    let ran = stack.up(program(vec![])).await.good();
    assert_eq!(ran.steps(), ["delete a"]);
    assert_eq!(ran.calls, [""; 0]);
    assert_eq!(stack.world.names(), ["a"]);
    assert!(stack.entries("a").is_empty());
}

#[tokio::test]
async fn deleted_with_leaves_the_call_to_the_other_resource() {
    let mut stack = Stack::default();
    let mut b = res("b");
    b.deleted_with = Some("a".to_owned());
    stack.up(program(vec![res("a"), b])).await.good();
    let ran = stack.up(program(vec![])).await.good();
    assert_eq!(ran.calls, ["delete a"]);
    assert!(stack.entries("b").is_empty());
}

#[tokio::test]
async fn options_alone_change_the_state_and_call_nobody() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a"), res("b")])).await.good();
    let b = res("b").after("a").protect().options(|o| {
        o.custom_timeouts.create = Some(5.0);
        o.source_position = Some("project:///Pulumi.yaml#1,2".to_owned());
    });
    let ran = stack.up(program(vec![res("a"), b])).await.good();
    assert_eq!(ran.calls, [""; 0]);
    let b = stack.entry("b");
    assert!(b.protect);
    assert_eq!(b.custom_timeouts.create, Some(5.0));
    assert_eq!(b.dependencies.len(), 1);
    assert_eq!(b.source_position, "project:///Pulumi.yaml#1,2");
}

#[tokio::test]
async fn explicit_providers_serve_their_resources_and_children() {
    let mut stack = Stack::default();
    let wanted = |region: &str| {
        let provider = res("p").kind("pulumi:providers:test").set("region", region);
        let mut web = component("web");
        web.provider = Some("p".to_owned());
        let mut direct = res("direct");
        direct.provider = Some("p".to_owned());
        program(vec![provider, web, res("child").parent("web"), direct])
    };
    stack.up(wanted("north")).await.good();
    let reference = format!("{}::{}", stack.entry("p").urn_str(), stack.entry("p").id);
    assert_eq!(stack.entry("child").provider, reference);
    assert_eq!(stack.entry("direct").provider, reference);
    assert!(stack.entries("default").is_empty());

    let ran = stack.up(wanted("south")).await.good();
    assert_eq!(ran.steps(), ["update p"]);
    assert_eq!(stack.entry("direct").provider, reference);
    stack.destroy().await.good();
    assert!(stack.world.names().is_empty());
}

#[tokio::test]
async fn another_provider_with_other_settings_replaces() {
    let mut stack = Stack::default();
    let wanted = |name: &str| {
        let north = res("north")
            .kind("pulumi:providers:test")
            .set("region", "n");
        let twin = res("twin").kind("pulumi:providers:test").set("region", "n");
        let south = res("south")
            .kind("pulumi:providers:test")
            .set("region", "s");
        let mut a = res("a");
        a.provider = Some(name.to_owned());
        program(vec![north, twin, south, a])
    };
    stack.up(wanted("north")).await.good();
    let ran = stack.up(wanted("twin")).await.good();
    assert_eq!(ran.calls, [""; 0], "the same settings");
    let ran = stack.up(wanted("south")).await.good();
    assert_eq!(ran.calls, ["create a", "delete a"]);
}

#[tokio::test]
async fn an_unknown_package_names_the_resource() {
    let mut stack = Stack::default();
    let ran = stack
        .up(program(vec![res("a").kind("nope:index:Res")]))
        .await;
    assert_eq!(ran.errors(), ["LG0253"]);
    let message = &ran.diagnostics().next().expect("a diagnostic").message;
    assert!(message.contains("nope:index:Res::a"), "{message}");
}
