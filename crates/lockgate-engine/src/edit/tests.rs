//! Edits leave a state that holds together, or refuse.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use lockgate_model::resource::PendingKind;
use lockgate_model::{PendingOperation, ResourceState, Snapshot, Urn};

use super::{DeleteOptions, EditError, Mark, delete, mark, rename, rename_stack, with_name};
use crate::integrity;

fn urn(kind: &str, name: &str) -> Urn {
    Urn::new("dev", "shop", None, kind, name)
}

fn entry(kind: &str, name: &str) -> ResourceState {
    ResourceState {
        urn: Some(urn(kind, name)),
        custom: true,
        id: format!("id-{name}"),
        ..ResourceState::default()
    }
}

/// A root, a provider, `db` of it, `web` that needs `db`, `other`.
fn snapshot() -> Snapshot {
    let root = ResourceState {
        custom: false,
        id: String::new(),
        ..entry("pulumi:pulumi:Stack", "shop-dev")
    };
    let root_urn = root.urn.clone();
    let provider = entry("pulumi:providers:fake", "mine");
    let reference = format!("{}::id-mine", provider.urn_str());
    let db = ResourceState {
        parent: root_urn.clone(),
        provider: reference.clone(),
        protect: true,
        ..entry("fake:index:Db", "db")
    };
    let web = ResourceState {
        parent: root_urn,
        provider: reference,
        dependencies: vec![urn("fake:index:Db", "db")],
        property_dependencies: BTreeMap::from([(
            "url".to_owned(),
            vec![urn("fake:index:Db", "db")],
        )]),
        replace_with: vec![urn("fake:index:Db", "db")],
        ..entry("fake:index:Web", "web")
    };
    let pending = PendingOperation {
        resource: Arc::new(web.clone()),
        kind: PendingKind::Updating,
        idempotency_key: "k".to_owned(),
    };
    Snapshot {
        resources: [root, provider, db, web, entry("fake:index:Web", "other")]
            .map(Arc::new)
            .into(),
        pending: vec![pending],
        ..Snapshot::default()
    }
}

fn names(urns: &[Urn]) -> Vec<&str> {
    urns.iter().map(Urn::name).collect()
}

fn set(urns: &[Urn]) -> HashSet<Urn> {
    urns.iter().cloned().collect()
}

#[test]
fn what_is_needed_or_protected_is_not_forgotten() {
    let db = urn("fake:index:Db", "db");
    let web = urn("fake:index:Web", "web");
    let only = DeleteOptions::default();
    let all = DeleteOptions {
        dependents: true,
        ..only
    };
    let force = DeleteOptions {
        protected: true,
        dependents: true,
    };
    let before = snapshot();
    for (urns, options, expected) in [
        (
            set(std::slice::from_ref(&db)),
            DeleteOptions {
                protected: true,
                ..only
            },
            Err(EditError::Needed {
                urn: db.clone(),
                dependent: web.clone(),
            }),
        ),
        (
            set(std::slice::from_ref(&db)),
            all,
            Err(EditError::Protected { urn: db.clone() }),
        ),
        (set(std::slice::from_ref(&db)), force, Ok(vec!["db", "web"])),
        (set(std::slice::from_ref(&web)), only, Ok(vec!["web"])),
        (
            set(&[urn("pulumi:providers:fake", "mine")]),
            force,
            Ok(vec!["mine", "db", "web"]),
        ),
    ] {
        let mut after = before.clone();
        let result = delete(&mut after, &urns, options);
        match (result, expected) {
            (Ok(gone), Ok(expected)) => {
                assert_eq!(names(&gone), expected);
                assert_eq!(integrity::check(&after), Ok(()));
                assert_eq!(after.pending.len(), usize::from(!expected.contains(&"web")));
                let left = before.resources.len() - expected.len();
                assert_eq!(after.resources.len(), left);
            }
            (Err(error), Err(expected)) => {
                assert_eq!(error, expected);
                assert_eq!(after, before, "a refused edit changed something");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn references_follow_a_new_name_and_a_taken_one_is_refused() {
    let mut after = snapshot();
    let renames = |old: &Urn, name: &str| {
        HashMap::from([(old.clone(), with_name(old, name).expect("a URN"))])
    };
    let web = urn("fake:index:Web", "web");
    let taken = rename(&mut after, &renames(&web, "other"));
    let other = urn("fake:index:Web", "other");
    assert_eq!(taken, Err(EditError::Taken { urn: other }));
    assert_eq!(after, snapshot());
    for (kind, old, new) in [
        ("fake:index:Db", "db", "store"),
        ("pulumi:providers:fake", "mine", "ours"),
        ("fake:index:Web", "web", "site"),
    ] {
        rename(&mut after, &renames(&urn(kind, old), new)).expect("renamed");
        assert_eq!(integrity::check(&after), Ok(()));
    }
    let store = urn("fake:index:Db", "store");
    let site = &after.resources[3];
    assert_eq!(site.dependencies, std::slice::from_ref(&store));
    assert_eq!(site.replace_with, std::slice::from_ref(&store));
    assert_eq!(site.property_dependencies["url"], [store]);
    assert!(
        site.provider.ends_with("::ours::id-mine"),
        "{}",
        site.provider
    );
    assert_eq!(
        after.pending[0].resource.urn,
        Some(urn("fake:index:Web", "site"))
    );
}

#[test]
fn a_stack_takes_its_new_name_everywhere() {
    let mut after = snapshot();
    rename_stack(&mut after, "shop", "prod").expect("renamed");
    assert_eq!(integrity::check(&after), Ok(()));
    let text = format!("{after:?}");
    assert!(!text.contains("urn:pulumi:dev::"), "{text}");
    assert!(text.contains("urn:pulumi:prod::shop::pulumi:pulumi:Stack::shop-prod"));
}

#[test]
fn marks_are_set_once() {
    let mut after = snapshot();
    let all = set(&[urn("fake:index:Db", "db"), urn("fake:index:Web", "web")]);
    assert_eq!(names(&mark(&mut after, &all, Mark::Protect(true))), ["web"]);
    assert_eq!(
        names(&mark(&mut after, &all, Mark::Protect(false))),
        ["db", "web"]
    );
    assert_eq!(
        names(&mark(&mut after, &all, Mark::Taint(true))),
        ["db", "web"]
    );
    assert!(mark(&mut after, &all, Mark::Taint(true)).is_empty());
    assert!(after.resources[2].taint && !after.resources[2].protect);
}
