//! Each rule, broken once.

use std::sync::Arc;

use lockgate_model::{ResourceState, Snapshot, Urn};

use super::*;

fn urn(name: &str) -> Urn {
    Urn::new("dev", "shop", None, "test:index:Res", name)
}

fn entry(name: &str) -> ResourceState {
    ResourceState {
        urn: Some(urn(name)),
        custom: true,
        id: format!("id-{name}"),
        ..ResourceState::default()
    }
}

fn errors(entries: Vec<ResourceState>) -> Vec<IntegrityError> {
    let snapshot = Snapshot {
        resources: entries.into_iter().map(Arc::new).collect(),
        ..Snapshot::default()
    };
    check(&snapshot).err().unwrap_or_default()
}

#[test]
fn a_valid_state_passes() {
    let mut waiting = entry("a");
    waiting.delete = true;
    let mut b = entry("b");
    b.dependencies = vec![urn("a")];
    b.parent = Some(urn("a"));
    b.provider = format!("{}::id-a", urn("a"));
    assert_eq!(errors(vec![waiting, entry("a"), b]), []);
}

#[test]
fn every_reference_must_come_before() {
    let order = |role: &'static str| IntegrityError::Order {
        urn: urn("a"),
        target: urn("b"),
        role,
    };
    type Change = fn(&mut ResourceState);
    let cases: [(Change, &'static str); 5] = [
        (|s| s.parent = Some(urn("b")), "parent"),
        (|s| s.dependencies.push(urn("b")), "dependency"),
        (|s| s.deleted_with = Some(urn("b")), "deletedWith"),
        (|s| s.provider = format!("{}::x", urn("b")), "provider"),
        (
            |s| {
                s.property_dependencies
                    .insert("p".to_owned(), vec![urn("b")]);
            },
            "dependency",
        ),
    ];
    for (change, role) in cases {
        let mut a = entry("a");
        change(&mut a);
        assert_eq!(errors(vec![a.clone(), entry("b")]), [order(role)]);
        assert_eq!(errors(vec![entry("b"), a]), []);
    }
}

#[test]
fn a_provider_may_be_missing_while_a_replacement_is_pending() {
    let mut a = entry("a");
    a.provider = format!("{}::x", urn("b"));
    a.pending_replacement = true;
    assert_eq!(errors(vec![a]), []);
}

#[test]
fn broken_entries_are_named() {
    let nameless = ResourceState::default();
    let mut component = entry("c");
    component.custom = false;
    let mut lost = entry("d");
    lost.provider = "nonsense".to_owned();
    assert_eq!(
        errors(vec![nameless, component, lost, entry("e"), entry("e"),]),
        [
            IntegrityError::NoUrn { index: 0 },
            IntegrityError::ComponentId { urn: urn("c") },
            IntegrityError::ProviderReference {
                urn: urn("d"),
                reference: "nonsense".to_owned()
            },
            IntegrityError::Duplicate { urn: urn("e") },
        ]
    );
}
