//! Random entries survive a round trip, and show no secret on the way.

use lockgate_model::resource::PendingKind;
use lockgate_model::{ResourceState, Value};
use proptest::prelude::*;

use super::*;
use crate::deployment::tests::{FIXTURE, any_properties, any_state, fixture};

fn any_entry() -> impl Strategy<Value = JournalEntry> {
    let id = any::<u64>().prop_map(EntryId);
    let state = any_state().prop_map(Arc::new);
    let kinds = [
        PendingKind::Creating,
        PendingKind::Updating,
        PendingKind::Deleting,
        PendingKind::Reading,
    ];
    prop_oneof![
        (any::<u64>(), 0..4usize, any_state(), ".*").prop_map(
            move |(step, kind, resource, idempotency_key)| JournalEntry::Begin {
                step,
                kind: kinds[kind],
                resource: Arc::new(resource),
                idempotency_key,
            }
        ),
        (
            proptest::option::of(any::<u64>()),
            proptest::collection::vec(id.clone(), 0..3),
            proptest::option::of((id.clone(), state)),
        )
            .prop_map(|(step, remove, add)| JournalEntry::Done { step, remove, add }),
        (any::<u64>(), any::<bool>())
            .prop_map(|(step, unresolved)| JournalEntry::Failed { step, unresolved }),
        id.clone().prop_map(|entry| JournalEntry::Keep { entry }),
        (id, any_properties())
            .prop_map(|(entry, outputs)| JournalEntry::Outputs { entry, outputs }),
        any::<u64>().prop_map(|pending| JournalEntry::Resolved { pending }),
        Just(JournalEntry::Finished),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_entries_survive_a_round_trip(entry in any_entry()) {
        let fixture = &*FIXTURE;
        let bytes = encode_entry(&entry, &fixture.secrets).unwrap();
        let again = decode_entry("here", &bytes, &fixture.secrets).unwrap();
        prop_assert_eq!(again, entry);
    }
}

#[test]
fn an_entry_shows_no_secret() {
    let fixture = fixture();
    let nested = Value::List(vec![Value::from("hunter2").into_secret()]);
    let mut resource = ResourceState {
        urn: Some(lockgate_model::Urn::new("dev", "shop", None, "a:b:C", "n")),
        ..ResourceState::default()
    };
    resource.inputs.insert("list".to_owned(), nested.clone());
    resource
        .outputs
        .insert("whole".to_owned(), nested.into_secret());
    let entry = JournalEntry::Done {
        step: None,
        remove: Vec::new(),
        add: Some((EntryId(0), Arc::new(resource))),
    };
    let bytes = encode_entry(&entry, &fixture.secrets).unwrap();
    assert!(!String::from_utf8(bytes).unwrap().contains("hunter2"));
}

/// As deep as a YAML program can nest; more cannot come in.
#[test]
fn the_deepest_value_of_a_program_is_read_as_written() {
    let mut value = Value::from("x");
    for _ in 0..255 {
        value = Value::List(vec![value]);
    }
    let entry = JournalEntry::Outputs {
        entry: EntryId(1),
        outputs: [
            ("p".to_owned(), value.clone()),
            ("s".to_owned(), value.into_secret()),
        ]
        .into(),
    };
    let bytes = encode_entry(&entry, &FIXTURE.secrets).unwrap();
    assert!(decode_entry("the entry", &bytes, &FIXTURE.secrets).unwrap() == entry);
}
