//! Choices, as data.

use super::PinRule;

fn choose(
    rule: &str,
    range: Option<&str>,
    filter: Option<&str>,
    extract: Option<&str>,
    tags: &[&str],
) -> Result<String, String> {
    let rule = PinRule::new(rule, range, filter, extract).unwrap();
    let tags: Vec<String> = tags.iter().map(|t| (*t).to_owned()).collect();
    let mut turned = tags.clone();
    turned.reverse();
    let ranked = rule.ranked(&tags);
    assert_eq!(ranked, rule.ranked(&turned), "the order of tags matters");
    ranked.map(|mut tags| tags.remove(0))
}

#[test]
fn the_highest_version_in_the_range_is_taken() {
    let tags = &[
        "1.4",
        "1.4.0",
        "1.10.2",
        "1.9.9",
        "v1.10.1",
        "2.0.0",
        "2.1.0-rc.1",
        "latest",
        "3",
        "20240101",
        "1.10.3-alpine",
    ];
    for (range, expected) in [
        (Some("^1"), "1.10.2"),
        (Some("~1.9"), "1.9.9"),
        (Some(">=1, <1.5"), "1.4.0"),
        (None, "2.0.0"),
        (Some("2.1.0-rc.1"), "2.1.0-rc.1"),
        (Some("=1.10.1"), "v1.10.1"),
    ] {
        let chosen = choose("semver", range, None, None, tags);
        assert_eq!(chosen.as_deref(), Ok(expected), "{range:?}");
    }
    let none = choose("semver", Some("^4"), None, None, tags);
    assert_eq!(none, Err("none of 11 tags is a version in `^4`".to_owned()));
}

#[test]
fn filter_and_extract_say_what_is_compared() {
    let tags = &[
        "build-9-abc",
        "build-10-def",
        "build-x-abc",
        "nightly",
        "1.2.0-alpine",
        "1.10.0-alpine",
        "1.11.0",
    ];
    let build = (Some("^build-([0-9]+)-"), Some("$1"));
    let alpine = (Some("^(?P<v>[0-9.]+)-alpine$"), Some("$v"));
    for (rule, (filter, extract), expected) in [
        ("numeric", build, "build-10-def"),
        ("alpha", build, "build-9-abc"),
        ("semver", alpine, "1.10.0-alpine"),
        ("alpha", (Some("^night"), None), "nightly"),
    ] {
        let chosen = choose(rule, None, filter, extract, tags);
        assert_eq!(chosen.as_deref(), Ok(expected), "{rule} {filter:?}");
    }
    let none = choose("alpha", None, Some("^no"), None, tags);
    assert_eq!(none, Err("none of 7 tags matches `^no`".to_owned()));
}

#[test]
fn wrong_rules_name_the_property() {
    for (rule, range, filter, extract, property) in [
        ("newest", None, None, None, "rule"),
        ("alpha", Some("^1"), None, None, "range"),
        ("semver", Some("one"), None, None, "range"),
        ("digest", None, Some("x"), None, "filter"),
        ("alpha", None, Some("("), None, "filter"),
        ("alpha", None, Some("(x{1000}){1000}"), None, "filter"),
        ("numeric", None, None, Some("$1"), "extract"),
    ] {
        let wrong = PinRule::new(rule, range, filter, extract).unwrap_err();
        assert_eq!(wrong.0, property, "{}", wrong.1);
    }
}
