//! Slow readers that know nothing of the fast ones.

use std::fmt;

use lockgate_model::ai::Usage;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::parse_usage;

/// The members of an object as they stand there: decoded keys, raw values.
pub(super) type Members = Vec<(String, String)>;

/// The members of the JSON object in `bytes`, in order; `None` when it is none.
pub(super) fn members(bytes: &[u8]) -> Option<Members> {
    struct All(Members);
    impl<'de> Deserialize<'de> for All {
        fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
            struct Each;
            impl<'de> Visitor<'de> for Each {
                type Value = All;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<All, A::Error> {
                    let mut all = Vec::new();
                    while let Some((key, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                        all.push((key, raw.get().to_owned()));
                    }
                    Ok(All(all))
                }
            }
            reader.deserialize_map(Each)
        }
    }
    serde_json::from_slice::<All>(bytes).ok().map(|all| all.0)
}

/// What a client should get of one event.
pub(super) enum Want<'b> {
    /// The event as it stands.
    Same(&'b [u8]),
    /// The event without the member `usage` of its data.
    Cut(&'b [u8], Members),
    /// Nothing.
    Nothing,
}

/// What a stream should make of its bytes.
#[derive(Default)]
pub(super) struct Expected<'b> {
    pub(super) wants: Vec<Want<'b>>,
    pub(super) done: bool,
    pub(super) failed: bool,
    pub(super) usage: Option<Usage>,
}

/// Splits `bytes` into whole events; what follows the last is left out.
pub(super) fn events(bytes: &[u8]) -> Vec<&[u8]> {
    let mut events = Vec::new();
    let (mut event, mut line, mut at) = (0, 0, 0);
    while at < bytes.len() {
        if !matches!(bytes[at], b'\r' | b'\n') {
            at += 1;
            continue;
        }
        let empty = at == line;
        at += if bytes[at..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        line = at;
        if empty {
            events.push(&bytes[event..at]);
            event = at;
        }
    }
    events
}

/// The data lines of an event.
pub(super) fn data(event: &[u8], first: bool) -> Vec<&[u8]> {
    let event = event
        .strip_prefix(b"\xEF\xBB\xBF")
        .filter(|_| first)
        .unwrap_or(event);
    event
        .split(|b| matches!(b, b'\r' | b'\n'))
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(|value| value.strip_prefix(b" ").unwrap_or(value))
        .collect()
}

/// Reads whole events; `None` when one is nested so deep that it is passed on unread.
pub(super) fn expect(bytes: &[u8], hide: bool) -> Option<Expected<'_>> {
    let mut expected = Expected::default();
    for (number, event) in events(bytes).into_iter().enumerate() {
        let lines = data(event, number == 0);
        if event.iter().filter(|b| matches!(b, b'{' | b'[')).count() > 100 {
            return None;
        }
        let want = expected.one(event, &lines, hide);
        expected.wants.push(want);
    }
    Some(expected)
}

impl<'b> Expected<'b> {
    fn one(&mut self, event: &'b [u8], lines: &[&[u8]], hide: bool) -> Want<'b> {
        let data = lines.join(&b"\n"[..]);
        self.done |= data == b"[DONE]";
        let plain = |name: &[u8]| data.windows(name.len()).any(|w| w == name);
        // Chunks without one of these names are not read.
        if !plain(b"\"usage\"") && !plain(b"\"error\"") {
            return Want::Same(event);
        }
        let all = members(&data).unwrap_or_default();
        let named = |name: &str| {
            let values = all.iter().filter(|(key, _)| key == name);
            values.map(|(_, raw)| raw.as_str()).collect::<Vec<_>>()
        };
        let (usages, errors, choices) = (named("usage"), named("error"), named("choices"));
        if [&usages, &errors, &choices].iter().any(|all| all.len() > 1) {
            return Want::Same(event);
        }
        let error = errors.first();
        self.failed |= error.is_some_and(|e| !["null", "false", "0", "\"\""].contains(e));
        let Some(usage) = usages.first() else {
            return Want::Same(event);
        };
        let told = parse_usage(usage);
        self.usage = told.or(self.usage);
        let empty = |raw: &&str| *raw == "null" || raw.replace(char::is_whitespace, "") == "[]";
        if hide && told.is_some() && choices.first().is_none_or(empty) {
            return Want::Nothing;
        }
        let rest = all.iter().filter(|(key, _)| key != "usage").cloned();
        // A key in another spelling, and data of several lines, are left alone.
        if hide && *usage == "null" && lines.len() == 1 && !data.contains(&b'\\') {
            return Want::Cut(event, rest.collect());
        }
        Want::Same(event)
    }
}

/// The first second of a day, by counting days.
pub(super) fn seconds(day: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| day[range].parse::<i64>().expect("digits");
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let mut days = (1970..year).map(|y| 365 + i64::from(leap(y))).sum::<i64>();
    let lengths = [
        31,
        28 + i64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    days += (1..month).map(|m| lengths[m as usize - 1]).sum::<i64>() + day - 1;
    days * 86_400
}

/// A price per million tokens in millionths.
pub(super) fn pico(price: &str) -> u128 {
    let (whole, part) = price.split_once('.').unwrap_or((price, ""));
    let mut digits = format!("{whole}{part}");
    digits.push_str(&"0".repeat(6 - part.len()));
    digits.parse().expect("digits")
}
