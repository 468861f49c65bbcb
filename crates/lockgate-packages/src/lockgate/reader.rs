//! Reads a bag into a spec and collects everything that is wrong with it.
//!
//! The schema was checked before, so kinds are right and defaults filled in. What is unknown reads
//! as missing and breaks no rule; a spec read from a bag with unknowns is only good for the check.

use std::time::Duration;

use lockgate_engine::provider::CheckFailure;
use lockgate_model::{PropertyMap, Value};

use crate::bag;
use crate::check::failure;
use crate::path::{index, member};

/// One bag, at a path of the inputs.
pub(super) struct Reader<'a> {
    bag: &'a PropertyMap,
    path: String,
    pub(super) failures: Vec<CheckFailure>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bag: &'a PropertyMap) -> Self {
        Self {
            bag,
            path: String::new(),
            failures: Vec::new(),
        }
    }

    pub(super) fn bag(&self) -> &'a PropertyMap {
        self.bag
    }

    /// Whether the property is there, known or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.bag.contains_key(name)
    }

    pub(super) fn is_unknown(&self, name: &str) -> bool {
        let value = self.bag.get(name).map(Value::unsecret);
        matches!(value, Some(Value::Unknown))
    }

    /// Complains about a property.
    pub(super) fn fail(&mut self, name: &str, reason: impl Into<String>) {
        self.failures
            .push(failure(member(&self.path, name), reason));
    }

    /// Complains about a member of a map.
    pub(super) fn fail_member(&mut self, name: &str, key: &str, reason: impl Into<String>) {
        let path = member(&member(&self.path, name), key);
        self.failures.push(failure(path, reason));
    }

    /// Complains about an item of a list.
    pub(super) fn fail_item(&mut self, name: &str, item: usize, reason: impl Into<String>) {
        let path = index(&member(&self.path, name), item);
        self.failures.push(failure(path, reason));
    }

    /// Reads the map `name` with `read`; `None` when it is missing or unknown.
    pub(super) fn inside<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> Option<T> {
        let bag = bag::map(self.bag, name)?;
        Some(self.at(bag, member(&self.path, name), read))
    }

    /// Reads `bag`, which is at `path`.
    pub(super) fn at<T>(
        &mut self,
        bag: &PropertyMap,
        path: String,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> T {
        let mut reader = Reader {
            bag,
            path,
            failures: std::mem::take(&mut self.failures),
        };
        let value = read(&mut reader);
        self.failures = reader.failures;
        value
    }

    /// A duration such as `500ms`, `2s` or `1m30s`.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        let text = bag::text(self.bag, name)?;
        let duration = parse_duration(text);
        if duration.is_none() {
            let reason = format!("`{text}` is no duration, expected for example `500ms` or `2s`");
            self.fail(name, reason);
        }
        duration
    }

    /// A whole number within bounds.
    pub(super) fn within(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        let given = bag::integer(self.bag, name)?;
        match u64::try_from(given) {
            Ok(n) if (least..=most).contains(&n) => Some(n),
            _ => {
                self.fail(name, format!("expected {least} to {most}, found {given}"));
                None
            }
        }
    }

    /// The one of `names` that is there; exactly one must be, or at most one with `optional`.
    pub(super) fn one_of(
        &mut self,
        names: &[&'static str],
        optional: bool,
    ) -> Option<&'static str> {
        let given: Vec<&'static str> = names.iter().copied().filter(|n| self.has(n)).collect();
        if given.len() == 1 {
            return Some(given[0]);
        }
        if given.len() > 1 || !optional {
            let expected = format!("expected exactly one of `{}`", names.join("`, `"));
            let found = match given.len() {
                0 => "found none".to_owned(),
                _ => format!("found `{}`", given.join("`, `")),
            };
            self.failures
                .push(failure(self.path.clone(), format!("{expected}, {found}")));
        }
        None
    }
}

/// One or more whole numbers with a unit (`ms`, `s`, `m`, `h`), added up. Not above a day and not
/// zero: both are typing errors wherever Lockgate takes a duration.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let length = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let unit_ms = match &after[..length] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
        rest = &after[length..];
    }
    (1..=86_400_000)
        .contains(&total_ms)
        .then(|| Duration::from_millis(total_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, ms) in [
            ("500ms", Some(500)),
            ("2s", Some(2000)),
            ("1m30s", Some(90_000)),
            ("24h", Some(86_400_000)),
            ("25h", None),
            ("0s", None),
            ("", None),
            ("2", None),
            ("s", None),
            ("1.5s", None),
            ("2 s", None),
            ("99999999999999999999s", None),
        ] {
            let expected = ms.map(Duration::from_millis);
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }
}
