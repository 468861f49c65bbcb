//! Random runs: any valid state × any program × failing providers × any operation, killed
//! anywhere. Every prefix of every journal is a valid state (checked by `Stack::run`), and a last
//! clean run leaves exactly what its program wants.

use lockgate_engine::source::Alias;
use lockgate_engine::{Operation, Options};
use proptest::prelude::*;

use crate::crash::check_world;
use crate::program::{Program, Res, Stack, component, program, res, urn};
use crate::world::Failure;

/// Enough names that resources come, go and meet again.
const NAMES: usize = 6;

#[derive(Clone, Debug)]
struct Shape {
    kind: u8,
    value: u8,
    fixed: u8,
    /// Indices of earlier resources, if there are that many.
    link: Option<usize>,
    fixed_link: Option<usize>,
    after: Option<usize>,
    parent: Option<usize>,
    replace_with: Option<usize>,
    delete_first: Option<bool>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let earlier = || proptest::option::weighted(0.3, 0..NAMES);
    (
        (0..10u8, 0..2u8, 0..2u8),
        (earlier(), earlier(), earlier(), earlier()),
        proptest::option::weighted(0.1, 0..NAMES),
        proptest::option::weighted(0.2, any::<bool>()),
    )
        .prop_map(
            |((kind, value, fixed), (link, fixed_link, after, parent), replace_with, first)| {
                Shape {
                    kind,
                    value,
                    fixed,
                    link,
                    fixed_link,
                    after,
                    parent,
                    replace_with,
                    delete_first: first,
                }
            },
        )
}

/// A program over a random order of some of the names.
fn any_program() -> impl Strategy<Value = Program> {
    let order = Just((0..NAMES).collect::<Vec<_>>()).prop_shuffle();
    (
        order,
        proptest::collection::vec(shape(), NAMES),
        0..=NAMES,
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(order, shapes, count, fails)| {
            let mut resources: Vec<Res> = Vec::new();
            for (name, shape) in order.into_iter().zip(shapes).take(count) {
                let built = build(name, &shape, &resources);
                resources.push(built);
            }
            Program {
                resources,
                outputs: Default::default(),
                fails,
            }
        })
}

fn build(name: usize, shape: &Shape, earlier: &[Res]) -> Res {
    let name = format!("r{name}");
    let at = |index: Option<usize>, custom: bool| {
        let found = earlier.get(index?)?;
        (found.custom == custom).then(|| found.name.clone())
    };
    if shape.kind == 0 {
        return component(&name).set("v", f64::from(shape.value));
    }
    let mut built = res(&name)
        .set("v", f64::from(shape.value))
        .set("fixed", f64::from(shape.fixed));
    if shape.kind == 1 {
        built = built.kind("test:index:First");
    }
    if let Some(other) = at(shape.link, true) {
        built = built.link("link", &other);
    }
    if let Some(other) = at(shape.fixed_link, true) {
        built = built.link("fixedLink", &other);
    }
    if let Some(other) = at(shape.after, true) {
        built = built.after(&other);
    }
    if let Some(other) = at(shape.parent, false) {
        built = built.parent(&other);
    }
    if let Some(other) = at(shape.replace_with, true) {
        built.replace_with.push(other);
    }
    built.options(|o| {
        o.delete_before_replace = shape.delete_first;
        // The same resource may have been of the other type in an earlier program.
        if shape.kind == 2 {
            o.aliases = vec![Alias::Urn(urn("test:index:First", &name))];
        }
    })
}

#[derive(Clone, Debug)]
struct Round {
    operation: Operation,
    program: Program,
    failures: Vec<(u8, usize, Failure)>,
    limit: Option<usize>,
    parallel: usize,
    continue_on_error: bool,
    refresh: bool,
    target: Option<usize>,
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        Just(Failure::Refuse),
        Just(Failure::Partial),
        Just(Failure::LostBefore),
        Just(Failure::LostAfter),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    (
        prop_oneof![
            6 => Just(Operation::Up),
            1 => Just(Operation::Preview),
            1 => Just(Operation::Destroy),
            1 => Just(Operation::Refresh),
        ],
        any_program(),
        proptest::collection::vec((0..5u8, 0..NAMES, failure()), 0..4),
        proptest::option::weighted(0.4, 0..40usize),
        1..4usize,
        any::<bool>(),
        proptest::bool::weighted(0.2),
        proptest::option::weighted(0.15, 0..NAMES),
    )
        .prop_map(
            |(operation, program, failures, limit, parallel, go_on, refresh, target)| Round {
                operation,
                program,
                failures,
                limit,
                parallel,
                continue_on_error: go_on,
                refresh,
                target,
            },
        )
}

async fn play(rounds: Vec<Round>, last: Program) {
    let mut stack = Stack::default();
    for round in rounds {
        for (verb, name, failure) in &round.failures {
            let verb = ["create", "update", "delete", "read", "check"][usize::from(*verb)];
            stack.world.fail(&format!("{verb} r{name}"), *failure);
        }
        stack.options = Options {
            parallel: round.parallel,
            continue_on_error: round.continue_on_error,
            refresh: round.refresh,
            targets: round
                .target
                .map(|n| format!("**::r{n}"))
                .into_iter()
                .collect(),
            target_dependents: true,
            ..Options::default()
        };
        stack.journal_limit = round.limit.unwrap_or(usize::MAX);
        let source = matches!(round.operation, Operation::Up | Operation::Preview)
            .then(|| round.program.clone());
        stack.run(round.operation, source).await;
        stack.world.0.lock().script.clear();
    }
    stack.options = Options::default();
    stack.journal_limit = usize::MAX;
    let wanted = Program {
        fails: false,
        ..last
    };
    stack.up(wanted.clone()).await.good();
    check_world(&stack, &wanted, "the last clean run");
    let again = stack.up(wanted).await.good();
    assert_eq!(again.calls, [""; 0], "one clean run was not enough");
    stack.destroy().await.good();
    check_world(&stack, &program(vec![]), "after destroy");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_ends_well(
        rounds in proptest::collection::vec(round(), 1..5),
        last in any_program(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers");
        runtime.block_on(play(rounds, last));
    }

    #[test]
    fn any_history_ends_well_on_several_threads(
        rounds in proptest::collection::vec(round(), 1..3),
        last in any_program(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .build()
            .expect("a runtime without drivers");
        runtime.block_on(play(rounds, last));
    }
}
