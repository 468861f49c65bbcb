//! Differences carry the paths that people write.

use super::*;

fn map(pairs: &[(&str, Value)]) -> PropertyMap {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect()
}

#[test]
fn nested_differences_have_paths() {
    let old = map(&[
        ("env", map(&[("A-1", Value::List(vec!["x".into()]))]).into()),
        ("gone", 1.0.into()),
        ("kept", "k".into()),
    ]);
    let new = map(&[
        (
            "env",
            map(&[("A-1", Value::List(vec!["y".into(), "z".into()]))]).into(),
        ),
        ("kept", Value::from("k").into_secret()),
        ("later", Value::Unknown),
    ]);
    let kinds: Vec<(String, DiffKind)> = compare(&old, &new)
        .into_iter()
        .map(|(path, diff)| (path, diff.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("env[\"A-1\"][0]".to_owned(), DiffKind::Update),
            ("env[\"A-1\"][1]".to_owned(), DiffKind::Add),
            ("gone".to_owned(), DiffKind::Delete),
            ("later".to_owned(), DiffKind::Add),
        ]
    );
}

#[test]
fn replace_paths_turn_matching_differences() {
    let old = map(&[("a", map(&[("b", 1.0.into()), ("c", 1.0.into())]).into())]);
    let new = map(&[("a", map(&[("b", 2.0.into()), ("c", 2.0.into())]).into())]);
    let mut found = compare(&old, &new);
    assert_eq!(mark_replaces(&mut found, &["a.b".to_owned()]), ["a.b"]);
    assert_eq!(found["a.b"].kind, DiffKind::UpdateReplace);
    assert_eq!(found["a.c"].kind, DiffKind::Update);
}
