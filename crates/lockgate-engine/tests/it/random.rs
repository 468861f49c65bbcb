//! Random runs: any valid state × any program × failing providers × any operation, killed
//! anywhere. Every prefix of every journal is a valid state (checked by `Stack::run`), nothing that
//! is protected goes, nothing is made before or removed under what it is connected with (checked by
//! the world), and a last clean run leaves exactly what its program wants.

use std::sync::Arc;

use lockgate_engine::source::Alias;
use lockgate_engine::{Import, Operation, Options};
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
    protect: Option<bool>,
    ignores: bool,
    replaces: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let earlier = || proptest::option::weighted(0.3, 0..NAMES);
    (
        (0..10u8, 0..2u8, 0..2u8),
        (earlier(), earlier(), earlier(), earlier()),
        proptest::option::weighted(0.1, 0..NAMES),
        proptest::option::weighted(0.2, any::<bool>()),
        (
            proptest::option::weighted(0.2, any::<bool>()),
            proptest::bool::weighted(0.15),
            proptest::bool::weighted(0.15),
        ),
    )
        .prop_map(
            |(
                (kind, value, fixed),
                (link, fixed_link, after, parent),
                replace_with,
                first,
                (protect, ignores, replaces),
            )| {
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
                    protect,
                    ignores,
                    replaces,
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
        o.protect = shape.protect;
        if shape.ignores {
            o.ignore_changes = vec!["v".to_owned()];
        }
        if shape.replaces {
            o.replace_on_changes = vec!["v".to_owned()];
        }
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
    exclude: Option<usize>,
    dependents: bool,
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
            1 => Just(Operation::Import),
        ],
        any_program(),
        proptest::collection::vec((0..5u8, 0..NAMES, failure()), 0..4),
        proptest::option::weighted(0.4, 0..40usize),
        1..4usize,
        any::<bool>(),
        proptest::bool::weighted(0.2),
        (
            proptest::option::weighted(0.15, 0..NAMES),
            proptest::option::weighted(0.15, 0..NAMES),
            any::<bool>(),
        ),
    )
        .prop_map(
            |(operation, program, failures, limit, parallel, go_on, refresh, part)| Round {
                operation,
                program,
                failures,
                limit,
                parallel,
                continue_on_error: go_on,
                refresh,
                target: part.0,
                exclude: part.1,
                dependents: part.2,
            },
        )
}

/// Whether something is deleted before what depends on it could let go of it.
fn deletes_first(program: &Program) -> bool {
    program.resources.iter().any(|res| {
        res.type_token.ends_with(":First") || res.options.delete_before_replace == Some(true)
    })
}

/// Ids of protected things that this program has no word about, or still protects.
fn untouchable(stack: &Stack, program: Option<&Program>) -> Vec<String> {
    let released = |name: &str| {
        let resources = program.map(|program| &program.resources);
        let found = resources.into_iter().flatten().find(|res| res.name == name);
        found.is_some_and(|res| res.options.protect != Some(true))
    };
    stack
        .snapshot
        .resources
        .iter()
        .filter(|entry| entry.custom && entry.protect && !entry.delete)
        .filter(|entry| !released(entry.urn.as_ref().map_or("", |urn| urn.name())))
        .map(|entry| entry.id.clone())
        .filter(|id| stack.world.0.lock().things.contains_key(id))
        .collect()
}

/// What people do by hand before they let a protected resource go.
fn unprotect(stack: &mut Stack) {
    for entry in &mut stack.snapshot.resources {
        Arc::make_mut(entry).protect = false;
    }
    for pending in &mut stack.snapshot.pending {
        Arc::make_mut(&mut pending.resource).protect = false;
    }
}

async fn play(rounds: Vec<Round>, last: Program) {
    let mut stack = Stack::default();
    let programs = || rounds.iter().map(|round| &round.program).chain([&last]);
    // A resource outside the targets keeps its connection with one that a targeted run removes.
    let is_partial = |round: &Round| round.target.is_some() || round.exclude.is_some();
    let targeted = rounds.iter().any(is_partial);
    stack.world.0.lock().orderly = !targeted && !programs().any(deletes_first);
    // A create without an answer is repeated as it was, though what it names may be gone by then.
    let lost = |round: &Round| {
        let mut failures = round.failures.iter();
        round.limit.is_some() || failures.any(|(_, _, failure)| *failure == Failure::LostBefore)
    };
    stack.world.0.lock().answered = !rounds.iter().any(lost);
    for (number, round) in rounds.into_iter().enumerate() {
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
            target_dependents: round.dependents,
            excludes: round
                .exclude
                .map(|n| format!("**::r{n}"))
                .into_iter()
                .collect(),
            exclude_dependents: round.dependents,
            ..Options::default()
        };
        let found = format!("found-{number}");
        if round.operation == Operation::Import {
            let name = format!("r{}", number % NAMES);
            stack.world.put(&found, &name, Default::default());
            stack.options.imports = vec![Import {
                type_token: "test:index:Res".to_owned(),
                name,
                id: found.clone(),
                parent: None,
                provider: None,
                protect: false,
            }];
        }
        stack.journal_limit = round.limit.unwrap_or(usize::MAX);
        let source = matches!(round.operation, Operation::Up | Operation::Preview)
            .then(|| round.program.clone());
        let kept = untouchable(&stack, source.as_ref());
        stack.run(round.operation, source).await;
        let taken = stack.snapshot.resources.iter().any(|r| r.id == found);
        let mut world = stack.world.0.lock();
        for id in kept {
            assert!(world.things.contains_key(&id), "{id} was protected");
        }
        assert_eq!(world.disorder, [""; 0]);
        world.script.clear();
        if !taken {
            // What no import took belongs to nobody.
            world.things.remove(&found);
        }
    }
    stack.options = Options::default();
    stack.journal_limit = usize::MAX;
    let wanted = Program {
        fails: false,
        ..last
    };
    unprotect(&mut stack);
    stack.up(wanted.clone()).await.good();
    check_world(&stack, &wanted, "the last clean run");
    let again = stack.up(wanted).await.good();
    assert_eq!(again.calls, [""; 0], "one clean run was not enough");
    unprotect(&mut stack);
    stack.destroy().await.good();
    check_world(&stack, &program(vec![]), "after destroy");
    assert_eq!(stack.world.0.lock().disorder, [""; 0]);
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
