//! Kills a run after every entry of its journal and starts again: the state loads, one run
//! converges, nothing is there twice and nothing is left over.

use lockgate_engine::Operation;
use lockgate_engine::source::Alias;
use lockgate_model::PropertyMap;

use crate::program::{Program, Res, Stack, component, program, res, urn};

const FIRST: &str = "test:index:First";

/// The names that a program wants in the world.
fn wanted_names(program: &Program) -> Vec<String> {
    let is_thing = |res: &&Res| res.custom && res.read.is_none();
    let mut names: Vec<String> = program
        .resources
        .iter()
        .filter(is_thing)
        .map(|res| res.name.clone())
        .collect();
    names.sort();
    names
}

/// Asserts that the world is exactly what the program wants.
pub(crate) fn check_world(stack: &Stack, program: &Program, about: &str) {
    assert_eq!(stack.world.names(), wanted_names(program), "{about}");
    for res in program.resources.iter().filter(|res| res.custom) {
        let thing = stack.world.thing(&res.name).expect("a thing");
        let entry = stack.entry(&res.name);
        assert_eq!(thing.inputs, entry.inputs, "{about}: {}", res.name);
        let ignored = &res.options.ignore_changes;
        let own = |inputs: PropertyMap| -> PropertyMap {
            let own = inputs.into_iter();
            own.filter(|(name, _)| !res.links.contains_key(name) && !ignored.contains(name))
                .collect()
        };
        let wanted = own(res.inputs.clone());
        assert_eq!(own(thing.inputs), wanted, "{about}: {}", res.name);
        assert!(
            stack.world.0.lock().things.contains_key(&entry.id),
            "{about}"
        );
    }
    assert!(stack.snapshot.pending.is_empty(), "{about}");
}

/// Goes from one program to the next with a crash after every entry; then finishes, goes back,
/// or destroys.
async fn crash_everywhere(before: &Program, after: &Program, operation: Operation) {
    let length = {
        let mut stack = Stack::default();
        stack.up(before.clone()).await.good();
        let source = (operation == Operation::Up).then(|| after.clone());
        stack.run(operation, source).await.good().journal.len()
    };
    assert!(length > 1, "the scenario writes a journal");
    for cut in 0..length {
        for ending in ["finish", "back", "destroy", "crash again"] {
            let about = format!("cut after {cut} of {length}, then {ending}");
            let mut stack = Stack::default();
            stack.up(before.clone()).await.good();
            stack.journal_limit = cut;
            let source = (operation == Operation::Up).then(|| after.clone());
            stack.run(operation, source).await;
            if ending == "crash again" {
                stack.journal_limit = cut / 2 + 1;
                stack.up(after.clone()).await;
            }
            stack.journal_limit = usize::MAX;
            let wanted = match ending {
                "back" => before.clone(),
                "destroy" => program(vec![]),
                _ => after.clone(),
            };
            if ending == "destroy" {
                stack.destroy().await.good();
                assert!(stack.snapshot.resources.is_empty(), "{about}");
            } else {
                stack.up(wanted.clone()).await.good();
            }
            check_world(&stack, &wanted, &about);
            if ending != "destroy" {
                let again = stack.up(wanted).await.good();
                assert_eq!(again.calls, [""; 0], "{about}: one run was not enough");
            }
        }
    }
}

#[tokio::test]
async fn creates_updates_and_deletes_survive_a_crash_anywhere() {
    let before = program(vec![
        res("same"),
        res("changed").set("x", 1.0),
        res("gone").after("same"),
        res("gone too").link("y", "gone"),
    ]);
    let mut web = component("web");
    web.outputs = Some([("port".to_owned(), 1.0.into())].into());
    let after = program(vec![
        res("same"),
        res("changed").set("x", 2.0),
        web,
        res("new").link("y", "changed").parent("web"),
        res("last").link("y", "new"),
    ]);
    crash_everywhere(&before, &after, Operation::Up).await;
}

#[tokio::test]
async fn replacements_survive_a_crash_anywhere() {
    let wanted = |n: f64| {
        program(vec![
            res("a").set("fixed", n),
            res("b").link("fixed", "a"),
            res("c").link("loose", "b"),
        ])
    };
    crash_everywhere(&wanted(1.0), &wanted(2.0), Operation::Up).await;
}

#[tokio::test]
async fn delete_first_survives_a_crash_anywhere() {
    let wanted = |n: f64| {
        program(vec![
            res("a").kind(FIRST).set("fixed", n),
            res("b").link("fixed", "a"),
            res("c").link("loose", "b"),
            res("d").kind(FIRST).link("fixed", "c"),
        ])
    };
    crash_everywhere(&wanted(1.0), &wanted(2.0), Operation::Up).await;
}

#[tokio::test]
async fn renames_survive_a_crash_anywhere() {
    let wanted = |name: &str, n: f64| {
        let other = if name == "old" { "new" } else { "old" };
        let alias = |name: &str| vec![Alias::Urn(urn("test:index:Res", name))];
        program(vec![
            res(name)
                .set("fixed", n)
                .options(|o| o.aliases = alias(other)),
            res(&format!("{name}-b"))
                .link("x", name)
                .options(|o| o.aliases = alias(&format!("{other}-b"))),
        ])
    };
    crash_everywhere(&wanted("old", 1.0), &wanted("new", 2.0), Operation::Up).await;
}

#[tokio::test]
async fn destroy_survives_a_crash_anywhere() {
    let before = program(vec![
        res("a"),
        res("b").link("x", "a"),
        component("web"),
        res("c").parent("web"),
    ]);
    crash_everywhere(&before, &before, Operation::Destroy).await;
}
