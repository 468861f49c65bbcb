//! Import without a program.

use lockgate_engine::{Import, Operation};
use lockgate_model::PropertyMap;

use crate::program::{Stack, component, program, res};

const KIND: &str = "test:index:Res";

fn wanted(name: &str, id: &str) -> Import {
    Import {
        type_token: KIND.to_owned(),
        name: name.to_owned(),
        id: id.to_owned(),
        parent: None,
        provider: None,
        protect: true,
    }
}

fn x(value: f64) -> PropertyMap {
    [("x".to_owned(), value.into())].into()
}

#[tokio::test]
async fn what_exists_is_read_and_added_and_a_program_can_take_it_over() {
    let mut stack = Stack::default();
    let before = vec![res("a").set("x", 1.0), component("group")];
    stack.up(program(before.clone())).await.good();
    let entries = stack.snapshot.resources.clone();
    stack.world.put("real-1", "b", x(7.0));
    stack.options.imports = vec![wanted("b", "real-1")];
    let ran = stack.run(Operation::Import, None).await.good();
    assert_eq!(ran.steps(), ["import b"]);
    assert_eq!(ran.calls, ["read b"]);
    // What was there is kept as it was and where it was.
    assert_eq!(stack.snapshot.resources[..entries.len()], entries);
    let entry = stack.entry("b");
    assert_eq!(entry.id, "real-1");
    assert_eq!(entry.inputs, x(7.0));
    assert!(entry.protect);
    assert_eq!(entry.provider, stack.entry("a").provider);
    stack.options.imports = Vec::new();
    let mut all = before;
    all.push(res("b").set("x", 7.0).protect());
    let ran = stack.up(program(all)).await.good();
    assert_eq!(ran.steps(), [""; 0]);
}

#[tokio::test]
async fn an_empty_stack_gets_its_root_and_provider() {
    let mut stack = Stack::default();
    stack.world.put("real-1", "b", x(7.0));
    stack.options.imports = vec![wanted("b", "real-1")];
    stack.run(Operation::Import, None).await.good();
    assert_eq!(stack.snapshot.resources.len(), 3);
    assert!(stack.entry("b").parent.is_some());
}

#[tokio::test]
async fn a_parent_in_the_state_gives_the_urn_its_chain() {
    let mut stack = Stack::default();
    stack.up(program(vec![component("group")])).await.good();
    let parent = stack.entry("group").urn.clone();
    stack.world.put("real-1", "b", x(7.0));
    stack.options.imports = vec![Import {
        parent: parent.clone(),
        protect: false,
        ..wanted("b", "real-1")
    }];
    stack.run(Operation::Import, None).await.good();
    let entry = stack.entry("b");
    assert_eq!(entry.parent, parent);
    assert!(
        entry.urn_str().contains(&format!("${KIND}::b")),
        "{}",
        entry.urn_str()
    );
    assert!(!entry.protect);
}

#[tokio::test]
async fn what_is_missing_or_managed_already_is_refused() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a").set("x", 1.0)])).await.good();
    let id = stack.entry("a").id.clone();
    stack.world.put("real-1", "b", x(7.0));
    let before = stack.snapshot.clone();
    for (import, code) in [
        (wanted("b", "nothing"), "LG0255"),
        (wanted("a", "real-1"), "LG0241"),
        (wanted("b", &id), "LG0241"),
    ] {
        stack.options.imports = vec![import.clone()];
        let ran = stack.run(Operation::Import, None).await;
        assert_eq!(ran.errors(), [code], "{import:?}");
        assert_eq!(stack.snapshot, before, "{import:?}");
    }
}
