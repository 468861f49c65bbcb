//! Secret values of the inputs, taken out of everything a script prints.

use lockgate_diag::REDACTED;
use lockgate_model::{PropertyMap, Value};

/// Shorter secrets are not masked: they would blacken ordinary words.
const LENGTH_MIN: usize = 4;

/// The secrets of some inputs, longest first so that no part of one is left standing.
pub(super) struct Mask(Vec<String>);

impl Mask {
    pub(super) fn of<'a>(bags: impl IntoIterator<Item = &'a PropertyMap>) -> Self {
        let mut found = Vec::new();
        for value in bags.into_iter().flat_map(PropertyMap::values) {
            collect(value, false, &mut found);
        }
        found.sort_by_key(|text| std::cmp::Reverse(text.len()));
        found.dedup();
        Self(found)
    }

    pub(super) fn apply(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for secret in &self.0 {
            if masked.contains(secret) {
                masked = masked.replace(secret, REDACTED);
            }
        }
        masked
    }
}

fn collect(value: &Value, secret: bool, found: &mut Vec<String>) {
    match value {
        Value::Secret(inner) => collect(inner, true, found),
        Value::List(items) => items.iter().for_each(|v| collect(v, secret, found)),
        Value::Map(map) => map.values().for_each(|v| collect(v, secret, found)),
        // Output arrives by lines, so a secret of several lines is masked line by line.
        Value::String(text) if secret => found.extend(
            text.lines()
                .filter(|line| line.len() >= LENGTH_MIN)
                .map(str::to_owned),
        ),
        _ => {}
    }
}
