//! Create, same, update, delete; what a preview does not do.

use lockgate_engine::event::RunResult;
use lockgate_model::JournalEntry;

use crate::program::{Stack, program, res};

#[tokio::test]
async fn a_second_up_changes_nothing_and_calls_no_mutating_provider() {
    let mut stack = Stack::default();
    let wanted = program(vec![res("a").set("x", 1.0), res("b").link("y", "a")]);
    let first = stack.up(wanted.clone()).await.good();
    assert_eq!(first.steps(), ["create a", "create b"]);
    assert_eq!(first.calls, ["create a", "create b"]);
    let before = stack.snapshot.clone();

    let second = stack.up(wanted).await.good();
    assert_eq!(second.steps(), [""; 0]);
    assert_eq!(second.calls, [""; 0]);
    assert_eq!(stack.snapshot, before);
    let is_cheap =
        |entry: &JournalEntry| matches!(entry, JournalEntry::Keep { .. } | JournalEntry::Finished);
    assert!(second.journal.iter().all(is_cheap), "{:#?}", second.journal);
}

#[tokio::test]
async fn a_change_updates_in_place_and_a_removal_deletes_dependents_first() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![
            res("a").set("x", 1.0),
            res("b").link("y", "a"),
            res("c").after("b"),
        ]))
        .await
        .good();
    let id = stack.entry("a").id.clone();

    let ran = stack.up(program(vec![res("a").set("x", 2.0)])).await.good();
    assert_eq!(ran.steps(), ["update a", "delete c", "delete b"]);
    assert_eq!(ran.calls, ["update a", "delete c", "delete b"]);
    assert_eq!(stack.entry("a").id, id);
    assert_eq!(stack.world.names(), ["a"]);
    assert_eq!(stack.world.thing("a").expect("a").inputs["x"], 2.0.into());
}

#[tokio::test]
async fn a_preview_tells_the_same_steps_and_touches_nothing() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a").set("x", 1.0), res("gone")]))
        .await
        .good();
    let before = stack.snapshot.clone();
    let wanted = program(vec![
        res("a").set("x", 2.0),
        res("new").link("from", "a"),
        res("last").link("from", "new"),
    ]);

    let preview = stack.preview(wanted.clone()).await.good();
    assert_eq!(preview.calls, [""; 0]);
    assert!(preview.journal.is_empty());
    assert_eq!(preview.outcome.snapshot, before);
    assert!(preview.outcome.summary.preview);

    let up = stack.up(wanted).await.good();
    assert_eq!(preview.steps(), up.steps());
    assert_eq!(
        up.steps(),
        ["update a", "create new", "create last", "delete gone"]
    );
}

#[tokio::test]
async fn destroy_leaves_nothing() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a"), res("b").link("y", "a")]))
        .await
        .good();
    let ran = stack.destroy().await.good();
    assert_eq!(ran.calls, ["delete b", "delete a"]);
    assert_eq!(stack.world.names(), [""; 0]);
    assert!(stack.snapshot.resources.is_empty(), "{:#?}", stack.snapshot);
    stack.destroy().await.good();
}

#[tokio::test]
async fn a_failed_program_deletes_nothing() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a"), res("b")])).await.good();
    let mut broken = program(vec![res("a")]);
    broken.fails = true;
    let ran = stack.up(broken).await;
    assert_eq!(ran.result(), RunResult::Failed);
    assert_eq!(ran.errors(), ["LG0258"]);
    assert_eq!(stack.world.names(), ["a", "b"]);
    stack.entry("b");
}

#[tokio::test]
async fn default_providers_are_part_of_the_state_and_not_of_the_display() {
    let mut stack = Stack::default();
    stack
        .options
        .package_config
        .entry("test".to_owned())
        .or_default()
        .insert("region".to_owned(), "north".into());
    let versioned = res("b").options(|o| o.version = Some("1.2.3".to_owned()));
    let wanted = program(vec![res("a"), versioned]);
    let ran = stack.up(wanted.clone()).await.good();
    let mut steps = ran.steps();
    steps.sort();
    assert_eq!(steps, ["create a", "create b"]);
    let provider = stack.entry("default");
    assert_eq!(provider.inputs["region"], "north".into());
    assert_eq!(
        stack.entry("a").provider,
        format!("{}::{}", provider.urn_str(), provider.id)
    );
    assert_eq!(
        stack.entry("default_1_2_3").inputs["version"],
        "1.2.3".into()
    );
    let configured = stack.world.0.lock().configured.clone();
    assert_eq!(configured.len(), 2);
    assert!(
        configured
            .iter()
            .all(|config| !config.contains_key("version"))
    );

    let id = provider.id.clone();
    stack
        .options
        .package_config
        .entry("test".to_owned())
        .or_default()
        .insert("region".to_owned(), "south".into());
    let ran = stack.up(wanted).await.good();
    assert_eq!(ran.calls, [""; 0], "new settings replace no resource");
    assert_eq!(stack.entry("default").id, id);
}
