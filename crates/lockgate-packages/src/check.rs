//! Inputs against a schema: required, type, closed sets, unknown names; constants and defaults
//! filled in.
//!
//! Simple values are converted where nothing is lost (`"8"` for a number, `8080` for text),
//! because stack config and templates often give text. Unknowns pass every check.

use std::collections::BTreeMap;

use lockgate_diag::did_you_mean;
use lockgate_engine::provider::CheckFailure;
use lockgate_model::schema::{PropertyKind, PropertySchema};
use lockgate_model::{PropertyMap, Value};

use crate::path::{index, member};

/// Properties by name.
pub(crate) type Properties = BTreeMap<String, PropertySchema>;

/// A failure of one property.
pub(crate) fn failure(property: impl Into<String>, reason: impl Into<String>) -> CheckFailure {
    CheckFailure {
        property: property.into(),
        reason: reason.into(),
    }
}

/// Checks `inputs`; answers what the state should keep, and everything that is wrong.
pub(crate) fn check_inputs(
    schema: &Properties,
    inputs: &PropertyMap,
) -> (PropertyMap, Vec<CheckFailure>) {
    let mut failures = Vec::new();
    let checked = check_object(schema, inputs, "", &mut failures);
    (checked, failures)
}

fn check_object(
    schema: &Properties,
    given: &PropertyMap,
    path: &str,
    failures: &mut Vec<CheckFailure>,
) -> PropertyMap {
    for name in given.keys().filter(|name| !schema.contains_key(*name)) {
        let known = schema.keys().map(String::as_str);
        let offer = did_you_mean(name, known)
            .map(|near| format!(", did you mean `{near}`?"))
            .unwrap_or_default();
        let reason = format!("`{name}` is not a known property{offer}");
        failures.push(failure(member(path, name), reason));
    }
    let mut checked = PropertyMap::new();
    for (name, property) in schema {
        let path = member(path, name);
        let value = given.get(name).filter(|v| !matches!(v, Value::Null));
        let filled = property.constant.as_ref().or(property.default.as_ref());
        let Some(value) = value.or(filled) else {
            if property.required {
                let expected = kind_name(&property.kind);
                failures.push(failure(path, format!("is required, expected {expected}")));
            }
            continue;
        };
        let value = check_value(&property.kind, value, &path, failures);
        if let Some(constant) = &property.constant
            && value.unsecret() != constant
            && !matches!(value, Value::Unknown)
        {
            failures.push(failure(path, format!("must be `{constant}`")));
        }
        let secret = property.secret;
        checked.insert(
            name.clone(),
            if secret { value.into_secret() } else { value },
        );
    }
    checked
}

fn check_value(
    kind: &PropertyKind,
    value: &Value,
    path: &str,
    failures: &mut Vec<CheckFailure>,
) -> Value {
    if let Value::Secret(inner) = value {
        return check_value(kind, inner, path, failures).into_secret();
    }
    match (kind, value) {
        (PropertyKind::Any, _) | (_, Value::Unknown) => value.clone(),
        (PropertyKind::List(kind), Value::List(items)) => Value::List(
            items
                .iter()
                .enumerate()
                .map(|(i, item)| check_value(kind, item, &index(path, i), failures))
                .collect(),
        ),
        (PropertyKind::Map(kind), Value::Map(map)) => Value::Map(
            map.iter()
                .map(|(key, item)| {
                    let item = check_value(kind, item, &member(path, key), failures);
                    (key.clone(), item)
                })
                .collect(),
        ),
        (PropertyKind::Object(schema), Value::Map(map)) => {
            Value::Map(check_object(schema, map, path, failures))
        }
        (PropertyKind::OneOf(kinds), _) => check_one_of(kinds, value, path, failures),
        _ => match convert(kind, value) {
            Some(value) => value,
            None => {
                failures.push(failure(path, mismatch(kind, value)));
                value.clone()
            }
        },
    }
}

/// The first kind that takes the value as it is wins; conversion is a last resort, so that the
/// order of the kinds does not turn an object into text.
fn check_one_of(
    kinds: &[PropertyKind],
    value: &Value,
    path: &str,
    failures: &mut Vec<CheckFailure>,
) -> Value {
    let mut nearest = None;
    for kind in kinds {
        let mut found = Vec::new();
        let checked = check_value(kind, value, path, &mut found);
        if found.is_empty() {
            return checked;
        }
        // A failure inside the value says more than one about its kind.
        if found.iter().any(|f| f.property != path) {
            nearest = Some((checked, found));
        }
    }
    let (checked, found) = nearest.unwrap_or_else(|| {
        let expected: Vec<String> = kinds.iter().map(kind_name).collect();
        let reason = format!(
            "expected {}, found {}",
            expected.join(" or "),
            value.kind_name()
        );
        (value.clone(), vec![failure(path, reason)])
    });
    failures.extend(found);
    checked
}

/// A simple value as `kind`, if it is one or can become one without loss.
fn convert(kind: &PropertyKind, value: &Value) -> Option<Value> {
    match (kind, value) {
        (PropertyKind::Bool, Value::Bool(_))
        | (PropertyKind::Number, Value::Number(_))
        | (PropertyKind::Asset, Value::Asset(_))
        | (PropertyKind::Archive, Value::Archive(_)) => Some(value.clone()),
        (PropertyKind::Bool, Value::String(text)) => text.parse().ok().map(Value::Bool),
        (PropertyKind::Integer, Value::Number(number)) => {
            (number.fract() == 0.0).then(|| value.clone())
        }
        (PropertyKind::Integer, Value::String(text)) => {
            let number = text.parse::<i32>().ok()?;
            Some(Value::Number(f64::from(number)))
        }
        (PropertyKind::Number, Value::String(text)) => {
            let number = text.parse::<f64>().ok().filter(|n| n.is_finite())?;
            Some(Value::Number(number))
        }
        (PropertyKind::String { one_of }, Value::String(text)) => {
            (one_of.is_empty() || one_of.contains(text)).then(|| value.clone())
        }
        (PropertyKind::String { one_of }, Value::Number(_) | Value::Bool(_)) => {
            one_of.is_empty().then(|| Value::String(value.to_string()))
        }
        (PropertyKind::Resource(_), Value::Reference(_)) => Some(value.clone()),
        _ => None,
    }
}

fn mismatch(kind: &PropertyKind, value: &Value) -> String {
    let expected = kind_name(kind);
    let PropertyKind::String { one_of } = kind else {
        return format!("expected {expected}, found {}", value.kind_name());
    };
    // The value itself is not repeated: whether it is a secret is not known down here.
    let near = value
        .as_str()
        .and_then(|text| did_you_mean(text, one_of.iter().map(String::as_str)));
    match near {
        Some(near) => format!("expected {expected}, did you mean `{near}`?"),
        None => format!("expected {expected}, found {}", value.kind_name()),
    }
}

fn kind_name(kind: &PropertyKind) -> String {
    match kind {
        PropertyKind::Any => "a value".to_owned(),
        PropertyKind::Bool => "a boolean".to_owned(),
        PropertyKind::Integer => "a whole number".to_owned(),
        PropertyKind::Number => "a number".to_owned(),
        PropertyKind::String { one_of } if one_of.is_empty() => "a string".to_owned(),
        PropertyKind::String { one_of } if one_of.len() == 1 => format!("`{}`", one_of[0]),
        PropertyKind::String { one_of } => format!("one of `{}`", one_of.join("`, `")),
        PropertyKind::List(_) => "a list".to_owned(),
        PropertyKind::Map(_) | PropertyKind::Object(_) => "a map".to_owned(),
        PropertyKind::Asset => "an asset".to_owned(),
        PropertyKind::Archive => "an archive".to_owned(),
        PropertyKind::OneOf(kinds) => {
            let names: Vec<String> = kinds.iter().map(kind_name).collect();
            names.join(" or ")
        }
        PropertyKind::Resource(token) => format!("a resource of type `{token}`"),
    }
}

#[cfg(test)]
mod tests;
