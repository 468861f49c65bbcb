//! Paths read back what they print, and reset exactly what they name.

use super::*;

fn map(pairs: &[(&str, Value)]) -> PropertyMap {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect()
}

#[test]
fn paths_print_as_they_were_written() {
    for text in ["a", "a.b[0]", "a[\"b-c\"].d", "a[*].b", "a[\"x\\\"y\"]"] {
        let path = PropertyPath::parse(text).expect(text);
        assert_eq!(path.to_string(), text);
    }
    for text in ["", ".", "a.", "a[", "a[x]", "a[\"b]"] {
        assert_eq!(
            PropertyPath::parse(text),
            Err(ParsePathError(text.to_owned()))
        );
    }
}

#[test]
fn wildcards_overlap_what_they_stand_for() {
    let overlaps = |a: &str, b: &str| {
        PropertyPath::parse(a)
            .expect(a)
            .overlaps(&PropertyPath::parse(b).expect(b))
    };
    assert!(overlaps("*", "tags.a"));
    assert!(overlaps("rules[*].port", "rules[3].port"));
    assert!(overlaps("rules", "rules[3].port"));
    assert!(!overlaps("rules[*].port", "rules[3].host"));
}

#[test]
fn reset_copies_old_values_back_at_any_depth() {
    let item =
        |port: f64, host: &str| Value::Map(map(&[("port", port.into()), ("host", host.into())]));
    let old = map(&[
        ("rules", Value::List(vec![item(1.0, "a"), item(2.0, "b")])),
        ("gone", "old".into()),
    ]);
    let mut new = map(&[
        ("rules", Value::List(vec![item(8.0, "x"), item(9.0, "y")])),
        ("extra", "new".into()),
    ]);
    for path in ["rules[*].port", "gone", "extra"] {
        assert!(reset(
            &PropertyPath::parse(path).expect(path),
            &old,
            &mut new
        ));
    }
    let wanted = map(&[
        ("rules", Value::List(vec![item(1.0, "x"), item(2.0, "y")])),
        ("gone", "old".into()),
    ]);
    assert_eq!(new, wanted);
    let shape = PropertyPath::parse("gone[0]").expect("path");
    assert!(!reset(&shape, &old, &mut new));
    assert_eq!(
        new, wanted,
        "a path that cannot be reset leaves all as it was"
    );
}
