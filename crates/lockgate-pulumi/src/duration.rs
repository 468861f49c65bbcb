//! Durations as Go writes them, which is how programs give time limits: `1h30m`, `1.5s`.

/// Units with their length in seconds, longer names first where one begins with another.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// Seconds of a duration; `None` when it is malformed, negative or past every number.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (name, length) = UNITS.iter().find(|(name, _)| rest.starts_with(name))?;
        total += number * length;
        rest = &rest[name.len()..];
    }
    Some(total).filter(|total| total.is_finite())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("5m", Some(300.0)),
            ("1h30m", Some(5400.0)),
            ("1.5s", Some(1.5)),
            ("250ms", Some(0.25)),
            ("1m5s", Some(65.0)),
            ("0", Some(0.0)),
            ("", None),
            ("5", None),
            ("-5m", None),
            ("5 m", None),
            ("m", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        let endless = format!("{}h", "9".repeat(400));
        assert_eq!(seconds(&endless), None);
    }
}
