//! One schema, many bags.

use super::*;
use crate::schema::parse;

fn schema() -> Properties {
    let text = r##"{
        "name": "t", "version": "1.0.0", "description": "d",
        "types": {
            "t:a:Mode": {"type": "string", "enum": [{"value": "fast"}, {"value": "slow"}]},
            "t:a:Box": {"type": "object", "required": ["side"], "properties": {
                "side": {"description": "d", "type": "integer"},
                "lid": {"description": "d", "type": "boolean", "default": true}}}
        },
        "resources": {"t:a:T": {"inputProperties": {
            "count": {"description": "d", "type": "integer"},
            "hidden": {"description": "d", "type": "string", "secret": true},
            "kind": {"description": "d", "type": "string", "const": "K"},
            "mode": {"description": "d", "$ref": "#/types/t:a:Mode"},
            "box": {"description": "d", "$ref": "#/types/t:a:Box", "default": {"side": 1}},
            "either": {"description": "d", "oneOf": [{"type": "string"}, {"$ref": "#/types/t:a:Box"}]},
            "map": {"description": "d", "type": "object", "additionalProperties": {"type": "string"}}
        }}}
    }"##;
    let mut package = parse(text).expect("the schema above");
    package
        .resources
        .remove("t:a:T")
        .expect("its resource")
        .inputs
}

fn map(entries: &[(&str, Value)]) -> PropertyMap {
    let owned = entries
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    owned.collect()
}

#[test]
fn constants_and_defaults_are_filled_in_at_every_depth() {
    let (checked, failures) = check_inputs(&schema(), &map(&[("box", Value::Null)]));
    assert_eq!(failures, []);
    let inner = map(&[("side", Value::Number(1.0)), ("lid", Value::Bool(true))]);
    assert_eq!(checked, map(&[("box", inner.into()), ("kind", "K".into())]));
}

#[test]
fn simple_values_are_converted_and_secrets_stay_secret() {
    let entries = [
        ("count", Value::from("8").into_secret()),
        ("hidden", "h".into()),
        ("map", map(&[("PORT", Value::Number(8080.0))]).into()),
    ];
    let (checked, failures) = check_inputs(&schema(), &map(&entries));
    assert_eq!(failures, []);
    assert_eq!(checked["count"], Value::Number(8.0).into_secret());
    assert_eq!(checked["hidden"], Value::from("h").into_secret());
    assert_eq!(checked["map"], map(&[("PORT", "8080".into())]).into());
}

#[test]
fn unknowns_pass_and_everything_wrong_is_named() {
    let unknown = ["count", "kind", "mode", "box", "either", "map"].map(|n| (n, Value::Unknown));
    assert_eq!(check_inputs(&schema(), &map(&unknown)).1, []);
    let entries = [
        ("count", Value::from("many")),
        ("kind", "L".into()),
        ("mode", "fats".into()),
        ("either", map(&[("side", "x".into())]).into()),
        ("map", map(&[("a-b", Value::List(Vec::new()))]).into()),
        ("cuont", Value::Null),
    ];
    let (_, failures) = check_inputs(&schema(), &map(&entries));
    let shown: Vec<String> = failures
        .iter()
        .map(|f| format!("{}: {}", f.property, f.reason))
        .collect();
    let expected = [
        "cuont: `cuont` is not a known property, did you mean `count`?",
        "count: expected a whole number, found a string",
        "either.side: expected a whole number, found a string",
        "kind: must be `K`",
        "map[\"a-b\"]: expected a string, found a list",
        "mode: expected one of `fast`, `slow`, did you mean `fast`?",
    ];
    assert_eq!(shown, expected);
}
