//! Typed reads of checked property bags. A value of the wrong kind was refused by the check, so a
//! reader answers `None` for it as for a missing one; secrets are looked through.

use std::collections::BTreeMap;

use lockgate_model::{PropertyMap, Value};

/// Text.
pub(crate) fn text<'a>(map: &'a PropertyMap, name: &str) -> Option<&'a str> {
    map.get(name)?.as_str()
}

/// A boolean.
pub(crate) fn boolean(map: &PropertyMap, name: &str) -> Option<bool> {
    map.get(name)?.as_bool()
}

/// A whole number. Floats beyond the range saturate.
pub(crate) fn integer(map: &PropertyMap, name: &str) -> Option<i64> {
    let number = map.get(name)?.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates; the check saw a whole number"
    )]
    Some(number as i64)
}

/// A whole number that is not negative.
pub(crate) fn unsigned(map: &PropertyMap, name: &str) -> Option<u64> {
    integer(map, name).and_then(|n| u64::try_from(n).ok())
}

/// A map.
pub(crate) fn map<'a>(map: &'a PropertyMap, name: &str) -> Option<&'a PropertyMap> {
    map.get(name)?.as_map()
}

/// A list; empty when missing.
pub(crate) fn list<'a>(map: &'a PropertyMap, name: &str) -> &'a [Value] {
    map.get(name).and_then(Value::as_list).unwrap_or_default()
}

/// A list of text; empty when missing.
pub(crate) fn texts(map: &PropertyMap, name: &str) -> Vec<String> {
    let items = list(map, name).iter();
    items
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

/// A map of text; empty when missing.
pub(crate) fn text_map(bag: &PropertyMap, name: &str) -> BTreeMap<String, String> {
    map(bag, name)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A whole number as a value. Sizes and counts here are far below 2^53.
pub(crate) fn number(n: u64) -> Value {
    #[expect(
        clippy::cast_precision_loss,
        reason = "values are numbers of 64-bit floats by contract"
    )]
    Value::Number(n as f64)
}
