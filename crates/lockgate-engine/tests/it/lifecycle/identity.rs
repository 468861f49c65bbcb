//! URNs, parents, aliases, duplicates.

use lockgate_engine::source::{Alias, AliasParent};

use crate::program::{Stack, component, program, res, urn};

fn named(name: &str) -> Alias {
    Alias::Parts {
        name: Some(name.to_owned()),
        type_token: None,
        stack: None,
        project: None,
        parent: AliasParent::Same,
    }
}

#[tokio::test]
async fn a_duplicate_urn_is_an_error() {
    let mut stack = Stack::default();
    let ran = stack
        .up(program(vec![res("a"), res("a").set("x", 1.0)]))
        .await;
    assert_eq!(ran.errors(), ["LG0241"]);
    assert!(stack.world.names().len() <= 1);
}

#[tokio::test]
async fn a_malformed_type_is_an_error() {
    let mut stack = Stack::default();
    let ran = stack.up(program(vec![res("a").kind("test:Res")])).await;
    assert_eq!(ran.errors(), ["LG0259"]);
}

#[tokio::test]
async fn a_renamed_resource_keeps_its_id_and_its_dependents_follow() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("old"), res("b").link("x", "old")]))
        .await
        .good();
    let id = stack.entry("old").id.clone();
    let renamed = || res("new").options(|o| o.aliases = vec![named("nobody"), named("old")]);
    let ran = stack
        .up(program(vec![renamed(), res("b").link("x", "new")]))
        .await
        .good();
    assert_eq!(ran.calls, [""; 0]);
    assert_eq!(stack.entry("new").id, id);
    assert!(stack.entries("old").is_empty());
    assert_eq!(
        stack.entry("b").dependencies,
        [urn("test:index:Res", "new")]
    );
    let ran = stack
        .up(program(vec![renamed(), res("b").link("x", "new")]))
        .await
        .good();
    assert_eq!(ran.calls, [""; 0]);
}

#[tokio::test]
async fn a_renamed_resource_can_be_replaced_at_once() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![
            res("old").set("fixed", 1.0),
            res("b").after("old"),
        ]))
        .await
        .good();
    let renamed = res("new")
        .set("fixed", 2.0)
        .options(|o| o.aliases = vec![Alias::Urn(urn("test:index:Res", "old"))]);
    let ran = stack
        .up(program(vec![renamed, res("b").after("new")]))
        .await
        .good();
    assert_eq!(ran.calls, ["create new", "delete new"]);
    assert_eq!(stack.world.names(), ["b", "new"]);
}

#[tokio::test]
async fn two_resources_cannot_continue_one_entry() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a")])).await.good();
    let b = res("b")
        .after("a")
        .options(|o| o.aliases = vec![named("a")]);
    let ran = stack.up(program(vec![res("a"), b])).await;
    assert_eq!(ran.errors(), ["LG0243"]);
    assert_eq!(stack.world.names(), ["a"]);
}

#[tokio::test]
async fn children_inherit_the_alias_of_a_renamed_parent() {
    let mut stack = Stack::default();
    let child = |parent: &str| {
        let mut child = res(&format!("{parent}-child")).parent(parent);
        child.name = format!("{parent}-child");
        child
    };
    let other = |parent: &str| res("other").parent(parent);
    stack
        .up(program(vec![component("old"), child("old"), other("old")]))
        .await
        .good();
    let renamed = component("new").kind("my:index:Renamed").options(|o| {
        o.aliases = vec![Alias::Parts {
            name: Some("old".to_owned()),
            type_token: Some("my:index:Component".to_owned()),
            stack: None,
            project: None,
            parent: AliasParent::Same,
        }];
    });
    let ran = stack
        .up(program(vec![renamed, child("new"), other("new")]))
        .await
        .good();
    assert_eq!(ran.calls, [""; 0]);
    assert_eq!(
        stack.entry("new-child").urn_str(),
        "urn:pulumi:dev::shop::my:index:Renamed$test:index:Res::new-child"
    );
}
