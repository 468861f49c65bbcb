//! The encoding: every value, hostile bytes, downgraded receivers.

use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource, ResourceReference};
use lockgate_model::{PropertyMap, Urn, Value};
use proptest::prelude::*;
use prost::Message as _;
use prost_types::Struct;

use super::{Accepts, OUTPUT, SIGNATURE, UNKNOWNS, WireError, decode, encode, string};

const ALL: Accepts = Accepts {
    secrets: true,
    references: true,
};

fn reference(id: Option<String>) -> Value {
    Value::Reference(ResourceReference {
        urn: Urn::new("dev", "shop", None, "random:index/randomId:RandomId", "a"),
        id,
        package_version: Some("4.0.0".to_owned()),
    })
}

fn value() -> impl Strategy<Value = Value> {
    let text = "[a-z ]{0,12}";
    let hash = || prop::option::of("[0-9a-f]{8}");
    let asset = (hash(), 0..3, "[a-z]{1,8}").prop_map(|(hash, kind, text)| {
        let source = match kind {
            0 => AssetSource::Text(text),
            1 => AssetSource::Path(text),
            _ => AssetSource::Uri(text),
        };
        Value::Asset(Asset { hash, source })
    });
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(Value::Unknown),
        any::<bool>().prop_map(Value::Bool),
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |n| !n.is_nan())
            .prop_map(Value::Number),
        text.prop_map(Value::String),
        asset,
        (hash(), "[a-z/]{1,8}").prop_map(|(hash, path)| Value::Archive(Archive {
            hash,
            source: ArchiveSource::Path(path)
        })),
        prop::option::of("[a-z]{0,4}").prop_map(reference),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        let map = || prop::collection::btree_map("[a-zA-Z_]{0,8}", inner.clone(), 0..5);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            map().prop_map(Value::Map),
            inner.clone().prop_map(Value::into_secret),
            map().prop_map(|assets| Value::Archive(Archive {
                hash: None,
                source: ArchiveSource::Assets(assets)
            })),
        ]
    })
}

/// Through real bytes, as the SDKs would send them.
fn round_trip(properties: &PropertyMap) -> PropertyMap {
    let bytes = encode(properties, ALL).encode_to_vec();
    let bag = Struct::decode(bytes.as_slice()).expect("our own bytes");
    decode(Some(bag), &mut |_, _| {}).expect("our own encoding")
}

proptest! {
    #[test]
    fn every_value_survives_the_wire(value in value()) {
        let properties = PropertyMap::from([("p".to_owned(), value)]);
        prop_assert_eq!(round_trip(&properties), properties);
    }

    #[test]
    fn no_secret_is_left_for_a_receiver_that_takes_none(value in value()) {
        let properties = PropertyMap::from([("p".to_owned(), value.clone())]);
        let accepts = Accepts { secrets: false, references: true };
        let bag = encode(&properties, accepts);
        let back = decode(Some(bag), &mut |_, _| {}).expect("our own encoding");
        prop_assert_eq!(format!("{:?}", back["p"]), format!("{:?}", strip(&value)));
    }

    #[test]
    fn hostile_bytes_are_an_error_at_most(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(bag) = Struct::decode(bytes.as_slice()) {
            let _ = decode(Some(bag), &mut |_, _| {});
        }
    }
}

/// Without secrets at any depth, archives included.
fn strip(value: &Value) -> Value {
    match value {
        Value::Secret(inner) => strip(inner),
        Value::List(items) => Value::List(items.iter().map(strip).collect()),
        Value::Map(map) => Value::Map(map.iter().map(|(k, v)| (k.clone(), strip(v))).collect()),
        Value::Archive(Archive {
            hash,
            source: ArchiveSource::Assets(map),
        }) => Value::Archive(Archive {
            hash: hash.clone(),
            source: ArchiveSource::Assets(map.iter().map(|(k, v)| (k.clone(), strip(v))).collect()),
        }),
        other => other.clone(),
    }
}

fn object(parts: Vec<(&str, prost_types::Value)>) -> prost_types::Value {
    let fields = parts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    prost_types::Value {
        kind: Some(prost_types::value::Kind::StructValue(Struct { fields })),
    }
}

fn bag(value: prost_types::Value) -> Option<Struct> {
    Some(Struct {
        fields: [("p".to_owned(), value)].into(),
    })
}

#[test]
fn each_unknown_form_is_unknown() {
    for form in UNKNOWNS {
        let back = decode(bag(string(form)), &mut |_, _| {}).expect("valid");
        assert_eq!(back["p"], Value::Unknown);
    }
}

#[test]
fn an_output_value_is_downgraded_and_names_its_dependencies() {
    let urn = Urn::new("dev", "shop", None, "a:b:C", "x");
    let list = prost_types::value::Kind::ListValue(prost_types::ListValue {
        values: vec![string(urn.as_str())],
    });
    let mut seen = Vec::new();
    let yes = prost_types::value::Kind::BoolValue(true);
    let output = object(vec![
        (SIGNATURE, string(OUTPUT)),
        ("secret", prost_types::Value { kind: Some(yes) }),
        ("dependencies", prost_types::Value { kind: Some(list) }),
    ]);
    let back = decode(bag(output), &mut |name, urn| {
        seen.push((name.to_owned(), urn))
    });
    assert_eq!(back.expect("valid")["p"], Value::Unknown.into_secret());
    assert_eq!(seen, [("p".to_owned(), urn)]);
}

#[test]
fn an_unknown_special_kind_is_refused_by_name() {
    let strange = object(vec![(SIGNATURE, string("feed"))]);
    let error = decode(bag(strange), &mut |_, _| {}).expect_err("no such kind");
    assert_eq!(error, WireError::Signature("feed".to_owned()));
}

#[test]
fn a_reference_becomes_its_id_for_a_receiver_that_takes_none() {
    let accepts = Accepts {
        secrets: true,
        references: false,
    };
    for (id, expected) in [(Some("i-1"), "i-1"), (Some(""), UNKNOWNS[0])] {
        let map = PropertyMap::from([("p".to_owned(), reference(id.map(str::to_owned)))]);
        assert_eq!(encode(&map, accepts).fields["p"], string(expected));
    }
}
