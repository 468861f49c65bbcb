//! Resources that exist already: read, import, refresh, function calls.

use lockgate_engine::Operation;
use lockgate_engine::event::RunResult;
use lockgate_model::PropertyMap;

use crate::program::{Res, Stack, program, res};

fn x(value: f64) -> PropertyMap {
    [("x".to_owned(), value.into())].into()
}

fn reading(name: &str, id: &str) -> Res {
    let mut read = res(name);
    read.read = Some(id.to_owned());
    read
}

#[tokio::test]
async fn read_resources_are_external_and_never_deleted() {
    let mut stack = Stack::default();
    stack.world.put("ext-1", "ext", x(1.0));
    let wanted = program(vec![reading("ext", "ext-1"), res("b").link("y", "ext")]);
    let ran = stack.up(wanted.clone()).await.good();
    assert_eq!(ran.steps(), ["read ext", "create b"]);
    assert!(stack.entry("ext").external);
    assert_eq!(stack.entry("b").inputs["y"], "out of ext-1".into());
    let before = stack.snapshot.clone();
    stack.up(wanted).await.good();
    assert_eq!(stack.snapshot, before);
    let ran = stack.up(program(vec![])).await.good();
    assert_eq!(ran.steps(), ["delete b", "discard ext"]);
    assert_eq!(stack.world.names(), ["ext"]);
}

#[tokio::test]
async fn reading_what_does_not_exist_is_an_error() {
    let mut stack = Stack::default();
    let ran = stack.up(program(vec![reading("ext", "nothing")])).await;
    assert_eq!(ran.errors(), ["LG0255"]);
}

#[tokio::test]
async fn a_managed_resource_can_be_let_go_and_taken_back() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a").set("x", 1.0)])).await.good();
    let id = stack.entry("a").id.clone();
    // The same id: it is only let go.
    let ran = stack.up(program(vec![reading("a", &id)])).await.good();
    assert_eq!(ran.calls, ["read a"]);
    assert!(stack.entry("a").external);
    // Managed again: a new one is made, the external one is not ours to delete.
    let ran = stack.up(program(vec![res("a").set("x", 1.0)])).await.good();
    assert_eq!(ran.steps(), ["create-replacement a"]);
    assert_eq!(stack.world.names(), ["a", "a"]);
    // Another id: the managed one is deleted.
    let ran = stack.up(program(vec![reading("a", &id)])).await.good();
    assert_eq!(ran.steps(), ["read-replacement a", "delete-replaced a"]);
    assert_eq!(stack.world.names(), ["a"]);
}

#[tokio::test]
async fn an_import_takes_over_and_then_brings_in_order() {
    let mut stack = Stack::default();
    stack.world.put("real-1", "a", x(1.0));
    let wanted = |n: f64| {
        let a = res("a").set("x", n);
        program(vec![a.options(|o| o.import_id = Some("real-1".to_owned()))])
    };
    let ran = stack.up(wanted(1.0)).await.good();
    assert_eq!(ran.steps(), ["import a"]);
    assert_eq!(stack.entry("a").id, "real-1");
    let ran = stack.up(wanted(1.0)).await.good();
    assert_eq!(ran.steps(), [""; 0]);

    let mut stack = Stack::default();
    stack.world.put("real-1", "a", x(1.0));
    let ran = stack.up(wanted(2.0)).await.good();
    assert_eq!(ran.steps(), ["import a", "update a"]);
    assert_eq!(stack.world.thing("a").expect("a").inputs, x(2.0));
}

#[tokio::test]
async fn importing_over_a_managed_resource_deletes_that_one() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a").set("x", 1.0)])).await.good();
    stack.world.put("real-1", "a", x(1.0));
    let a = res("a")
        .set("x", 1.0)
        .options(|o| o.import_id = Some("real-1".to_owned()));
    let ran = stack.up(program(vec![a])).await.good();
    assert_eq!(ran.steps(), ["import-replacement a", "delete-replaced a"]);
    assert_eq!(stack.entry("a").id, "real-1");
    assert_eq!(stack.world.names(), ["a"]);
}

#[tokio::test]
async fn a_wrong_import_id_is_an_error() {
    let mut stack = Stack::default();
    let a = res("a").options(|o| o.import_id = Some("nothing".to_owned()));
    let ran = stack.up(program(vec![a])).await;
    assert_eq!(ran.errors(), ["LG0255"]);
    assert!(stack.entries("a").is_empty());
}

#[tokio::test]
async fn refresh_takes_the_world_into_the_state() {
    let mut stack = Stack::default();
    let wanted = program(vec![
        res("a").set("x", 1.0),
        res("b").link("y", "a"),
        res("c").after("b"),
        res("d"),
    ]);
    stack.up(wanted.clone()).await.good();
    let (a, b) = (stack.entry("a").id.clone(), stack.entry("b").id.clone());
    stack.world.put(&a, "a", x(7.0));
    stack.world.0.lock().things.remove(&b);

    let ran = stack.run(Operation::Refresh, None).await.good();
    assert_eq!(ran.steps(), ["refresh a", "delete b"]);
    assert_eq!(stack.entry("a").inputs, x(7.0));
    assert!(stack.entries("b").is_empty());
    assert!(stack.entry("c").dependencies.is_empty());

    let ran = stack.up(wanted).await.good();
    assert_eq!(ran.steps(), ["update a", "create b"]);
}

#[tokio::test]
async fn an_up_can_refresh_first() {
    let mut stack = Stack::default();
    let wanted = program(vec![res("a").set("x", 1.0), res("b").link("y", "a")]);
    stack.up(wanted.clone()).await.good();
    let (a, b) = (stack.entry("a").id.clone(), stack.entry("b").id.clone());
    stack.world.put(&a, "a", x(7.0));
    stack.world.0.lock().things.remove(&b);
    stack.options.refresh = true;
    let preview = stack.preview(wanted.clone()).await.good();
    let ran = stack.up(wanted).await.good();
    assert_eq!(
        ran.steps(),
        ["refresh a", "delete b", "update a", "create b"]
    );
    assert_eq!(preview.steps(), ran.steps());
    assert_eq!(stack.world.names(), ["a", "b"]);
}

#[tokio::test]
async fn a_read_that_fails_leaves_the_entry_as_it_was() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a").set("x", 1.0)])).await.good();
    let before = stack.snapshot.clone();
    stack.world.fail("read a", crate::world::Failure::Refuse);
    let ran = stack.run(Operation::Refresh, None).await;
    assert_eq!(ran.result(), RunResult::Failed);
    assert_eq!(ran.errors(), ["LG0255"]);
    assert_eq!(stack.snapshot, before);
}
