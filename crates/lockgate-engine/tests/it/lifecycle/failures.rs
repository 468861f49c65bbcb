//! Failing providers: refusals, partial results, lost answers, and the run after.

use std::sync::Arc;

use lockgate_diag::{Label, SourceFile, Span};
use lockgate_engine::Operation;
use lockgate_engine::event::RunResult;
use lockgate_engine::source::{Alias, Places};
use lockgate_model::resource::PendingKind;
use parking_lot::Mutex;

use crate::program::{Stack, program, res, urn};
use crate::world::Failure;

#[tokio::test]
async fn a_refusal_stops_the_run_and_deletes_nothing() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("gone")])).await.good();
    stack.world.fail("create a", Failure::Refuse);
    let ran = stack.up(program(vec![res("a"), res("b").after("a")])).await;
    assert_eq!(ran.result(), RunResult::Failed);
    assert_eq!(ran.errors(), ["LG0245"]);
    assert_eq!(stack.world.names(), ["gone"]);
    assert!(stack.entries("a").is_empty());
    stack
        .up(program(vec![res("a"), res("b").after("a")]))
        .await
        .good();
    assert_eq!(stack.world.names(), ["a", "b"]);
}

#[tokio::test]
async fn continue_on_error_does_what_does_not_depend_on_the_failure() {
    let mut stack = Stack::default();
    stack.options.continue_on_error = true;
    stack.world.fail("create a", Failure::Refuse);
    let wanted = program(vec![
        res("a"),
        res("b").after("a"),
        res("c"),
        res("d").after("c"),
    ]);
    let ran = stack.up(wanted).await;
    assert_eq!(ran.result(), RunResult::Failed);
    assert_eq!(stack.world.names(), ["c", "d"]);
}

#[tokio::test]
async fn check_failures_name_the_property() {
    let mut stack = Stack::default();
    let ran = stack.up(program(vec![res("a").set("bad", 1.0)])).await;
    assert_eq!(ran.errors(), ["LG0244"]);
    let message = &ran.diagnostics().next().expect("one").message;
    assert!(message.contains("property `bad`"), "{message}");
}

/// Notes what it is asked for.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<String>>);

impl Places for Asked {
    fn find(&self, property: &str) -> Vec<Label> {
        self.0.lock().push(property.to_owned());
        vec![Label {
            file: SourceFile::new("main", "a: 1"),
            span: Span::new(0, 1),
            text: String::new(),
        }]
    }
}

#[tokio::test]
async fn places_are_asked_for_errors_only() {
    let mut stack = Stack::default();
    let asked = Arc::new(Asked::default());
    let placed = |name: &str, bad: Option<&str>| {
        let places = Arc::clone(&asked);
        let made = res(name).options(move |o| o.places = Some(places));
        match bad {
            Some(property) => made.set(property, 1.0),
            None => made,
        }
    };
    let wanted = vec![placed("a", None), placed("b", None)];
    stack.up(program(wanted)).await.good();
    assert_eq!(*asked.0.lock(), [""; 0]);
    let wanted = vec![placed("a", None), placed("b", Some("bad"))];
    let ran = stack.up(program(wanted)).await;
    assert_eq!(ran.errors(), ["LG0244"]);
    let told = ran.diagnostics().next().expect("one");
    assert_eq!(told.labels.len(), 1);
    assert_eq!(told.hints, ["correct `bad` at the marked place"]);
    assert_eq!(*asked.0.lock(), ["bad"]);
}

#[tokio::test]
async fn a_partial_create_is_kept_and_tried_again() {
    let mut stack = Stack::default();
    stack.world.fail("create a", Failure::Partial);
    let ran = stack.up(program(vec![res("a")])).await;
    assert_eq!(ran.errors(), ["LG0261"]);
    assert_eq!(stack.entry("a").init_errors, ["not ready"]);
    let ran = stack.up(program(vec![res("a")])).await.good();
    assert_eq!(ran.calls, ["update a"]);
    assert!(stack.entry("a").init_errors.is_empty());
    let ran = stack.up(program(vec![res("a")])).await.good();
    assert_eq!(ran.calls, [""; 0]);
}

#[tokio::test]
async fn a_lost_create_is_repeated_with_its_key_and_made_once() {
    for failure in [Failure::LostBefore, Failure::LostAfter] {
        let mut stack = Stack::default();
        stack.world.fail("create a", failure);
        let ran = stack.up(program(vec![res("a").set("x", 1.0)])).await;
        assert_eq!(ran.errors(), ["LG0246"]);
        assert_eq!(stack.snapshot.pending.len(), 1);
        assert_eq!(stack.snapshot.pending[0].kind, PendingKind::Creating);
        let key = stack.snapshot.pending[0].idempotency_key.clone();

        let preview = stack
            .preview(program(vec![res("a").set("x", 2.0)]))
            .await
            .good();
        let told: Vec<_> = preview.diagnostics().map(|d| d.code.as_str()).collect();
        assert_eq!(told, ["LG0256"]);

        // The program has changed in between: what was made is found, then updated.
        let ran = stack.up(program(vec![res("a").set("x", 2.0)])).await.good();
        assert_eq!(ran.calls, ["create a", "update a"]);
        assert!(stack.world.0.lock().create_keys.contains(&key));
        assert_eq!(stack.world.names(), ["a"]);
        assert!(stack.snapshot.pending.is_empty());
        assert_eq!(stack.world.thing("a").expect("a").inputs["x"], 2.0.into());
    }
}

#[tokio::test]
async fn a_lost_create_that_nobody_wants_any_more_is_cleaned_up() {
    for destroy in [false, true] {
        let mut stack = Stack::default();
        stack.world.fail("create a", Failure::LostAfter);
        stack.up(program(vec![res("a")])).await;
        assert_eq!(stack.world.names(), ["a"]);
        if destroy {
            stack.destroy().await.good();
        } else {
            stack.up(program(vec![])).await.good();
        }
        assert!(stack.world.names().is_empty());
        assert!(stack.snapshot.pending.is_empty());
    }
}

#[tokio::test]
async fn a_lost_replacement_is_not_made_twice() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a").set("fixed", 1.0)]))
        .await
        .good();
    stack.world.fail("create a", Failure::LostAfter);
    stack.up(program(vec![res("a").set("fixed", 2.0)])).await;
    assert_eq!(stack.world.names(), ["a", "a"]);
    // Back to the old program: neither of the two may be left over.
    stack
        .up(program(vec![res("a").set("fixed", 1.0)]))
        .await
        .good();
    assert_eq!(stack.world.names(), ["a"]);
    assert_eq!(
        stack.world.thing("a").expect("a").inputs["fixed"],
        1.0.into()
    );
    assert!(stack.snapshot.pending.is_empty());
}

#[tokio::test]
async fn a_lost_update_is_done_again_even_if_nothing_seems_to_differ() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a").set("x", 1.0)])).await.good();
    stack.world.fail("update a", Failure::LostAfter);
    stack.up(program(vec![res("a").set("x", 2.0)])).await;
    assert_eq!(stack.entry("a").inputs["x"], 1.0.into());
    let ran = stack.up(program(vec![res("a").set("x", 1.0)])).await.good();
    assert_eq!(ran.calls, ["update a"]);
    assert_eq!(stack.world.thing("a").expect("a").inputs["x"], 1.0.into());
    assert!(stack.snapshot.pending.is_empty());
}

#[tokio::test]
async fn a_lost_delete_of_a_resource_that_is_wanted_again_makes_it_anew() {
    for failure in [Failure::LostBefore, Failure::LostAfter] {
        let mut stack = Stack::default();
        stack.up(program(vec![res("a")])).await.good();
        stack.world.fail("delete a", failure);
        stack.up(program(vec![])).await;
        assert_eq!(stack.snapshot.pending[0].kind, PendingKind::Deleting);
        let ran = stack.up(program(vec![res("a")])).await.good();
        assert_eq!(ran.calls, ["delete a", "create a"]);
        assert_eq!(stack.world.names(), ["a"]);
        assert!(stack.snapshot.pending.is_empty());
    }
}

#[tokio::test]
async fn one_failed_delete_keeps_what_it_depends_on() {
    let mut stack = Stack::default();
    stack
        .up(program(vec![res("a"), res("b").after("a"), res("c")]))
        .await
        .good();
    stack.options.continue_on_error = true;
    stack.world.fail("delete b", Failure::Refuse);
    let ran = stack.destroy().await;
    assert_eq!(ran.result(), RunResult::Failed);
    assert_eq!(stack.world.names(), ["a", "b"]);
    stack.destroy().await.good();
    assert!(stack.world.names().is_empty());
}

#[tokio::test]
async fn a_refused_repeat_does_not_prove_that_nothing_was_made() {
    let mut stack = Stack::default();
    stack.world.fail("create a", Failure::LostAfter);
    stack.up(program(vec![res("a")])).await;
    stack.world.fail("create a", Failure::Refuse);
    let ran = stack.up(program(vec![])).await;
    assert_eq!(ran.errors(), ["LG0245"]);
    assert_eq!(stack.snapshot.pending.len(), 1);
    assert_eq!(stack.world.names(), ["a"]);
    let ran = stack.up(program(vec![])).await.good();
    assert_eq!(ran.calls, ["create a", "delete a"]);
    assert!(stack.world.names().is_empty());
    assert!(stack.snapshot.pending.is_empty());
}

#[tokio::test]
async fn a_program_may_mend_a_create_that_is_refused_when_repeated() {
    for failure in [Failure::LostBefore, Failure::LostAfter] {
        let mut stack = Stack::default();
        stack.world.fail("create a", failure);
        stack.up(program(vec![res("a").set("x", 1.0)])).await;
        stack.world.fail("create a", Failure::Refuse);
        // What the provider finds may have the properties of the first attempt.
        let ran = stack.up(program(vec![res("a").set("x", 2.0)])).await.good();
        assert_eq!(ran.calls, ["create a", "create a", "update a"]);
        assert_eq!(stack.world.thing("a").expect("a").inputs["x"], 2.0.into());
        assert_eq!(stack.world.names(), ["a"]);
        assert!(stack.snapshot.pending.is_empty());
        let keys = stack.world.0.lock().create_keys.clone();
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
    }
}

#[tokio::test]
async fn pending_creates_can_be_forgotten() {
    let mut stack = Stack::default();
    stack.world.fail("create a", Failure::LostBefore);
    stack.up(program(vec![res("a")])).await;
    stack.options.clear_pending_creates = true;
    let ran = stack.run(Operation::Refresh, None).await.good();
    assert_eq!(ran.calls, [""; 0]);
    assert!(stack.snapshot.pending.is_empty());
}

#[tokio::test]
async fn a_lost_update_under_a_new_name_is_done_again() {
    for back in [false, true] {
        let mut stack = Stack::default();
        let first = res("a").kind("test:index:First").set("x", 1.0);
        stack.up(program(vec![first.clone()])).await.good();
        let alias = Alias::Urn(urn("test:index:First", "a"));
        let renamed = || {
            res("a")
                .set("x", 2.0)
                .options(|o| o.aliases = vec![alias.clone()])
        };
        stack.world.fail("update a", Failure::LostAfter);
        let ran = stack.up(program(vec![renamed()])).await;
        assert_eq!(ran.errors(), ["LG0246"]);
        let wanted = if back { first } else { renamed() };
        let x = wanted.inputs["x"].clone();
        let ran = stack.up(program(vec![wanted])).await.good();
        assert_eq!(ran.calls, ["update a"]);
        assert!(stack.snapshot.pending.is_empty());
        assert_eq!(stack.world.thing("a").expect("a").inputs["x"], x);
    }
}
