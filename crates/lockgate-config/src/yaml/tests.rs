//! Scalars by table, and the promises of the tree over arbitrary bytes.

use std::sync::Arc;

use lockgate_diag::{SourceFile, Span};
use proptest::prelude::*;

use super::{Kind, Node, parse};

fn shown(kind: &Kind<'_>) -> String {
    match kind {
        Kind::Null => "null".to_owned(),
        Kind::Bool(b) => format!("bool {b}"),
        Kind::Number(n) => format!("number {n}"),
        Kind::String(s) => format!("string {s}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn scalars_follow_the_table() {
    let mut wrong = Vec::new();
    let table = include_str!("../../tests/scalars.txt");
    let rows = table
        .lines()
        .filter(|l| !l.starts_with("# ") && !l.is_empty());
    for row in rows {
        let (text, expected) = row.split_once(" => ").expect("row has an arrow");
        let file = SourceFile::new("t", format!("v: {text}\n"));
        let (tree, _) = parse(&file);
        let tree = tree.expect("parses");
        let got = shown(&tree.as_map().expect("a map")[0].1.kind);
        if got != expected {
            wrong.push(format!("{text}: expected {expected}, got {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hostile_files_are_refused_without_being_built() {
    let deep = SourceFile::new("t", "[".repeat(100_000));
    assert!(parse(&deep).0.is_none());
    let wide = SourceFile::new("t", format!("[{}]", "a,".repeat(1_000_001)));
    let (tree, found) = parse(&wide);
    assert!(tree.is_none());
    assert_eq!(found[0].message, "the file has more than 1000000 values");
}

#[test]
fn anchors_are_ignored_and_aliases_never_expanded() {
    let file = SourceFile::new("t", "a: &x [1, 2]\nb: *x\nc: *nowhere\n");
    let (tree, found) = parse(&file);
    let codes: Vec<_> = found
        .iter()
        .map(|d| (d.code.as_str(), d.labels[0].span))
        .collect();
    assert_eq!(
        codes,
        [("LG0202", Span::new(16, 18)), ("LG0202", Span::new(22, 30))]
    );
    let tree = tree.expect("usable");
    assert_eq!(tree.as_map().expect("a map")[1].1.kind, Kind::Refused);
}

fn check_spans(file: &Arc<SourceFile>, node: &Node<'_>, parent: Span) {
    let text = &file.text;
    for at in [node.span.start, node.span.end] {
        assert!(text.is_char_boundary(at as usize), "{at} in {text:?}");
    }
    assert!(
        parent.start <= node.span.start && node.span.end <= parent.end,
        "{:?} outside {parent:?} in {text:?}",
        node.span
    );
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|i| check_spans(file, i, node.span)),
        Kind::Map(entries) => {
            for (key, value) in entries {
                check_spans(file, key, node.span);
                check_spans(file, value, node.span);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_tree_or_a_diagnostic(text in "[\\[\\]{}:,#&*!|>'\"%@`$\\- \\t\\na-c0-9é~<]{0,60}") {
        let file = SourceFile::new("t", text);
        let (tree, found) = parse(&file);
        let whole = Span::of(0..file.text.len());
        match tree {
            Some(tree) => check_spans(&file, &tree, whole),
            None => prop_assert!(!found.is_empty()),
        }
        for label in found.iter().flat_map(|d| &d.labels) {
            prop_assert!(label.span.start <= label.span.end);
            prop_assert!(file.text.is_char_boundary((label.span.start as usize).min(file.text.len())));
        }
    }
}

#[test]
fn a_mistake_at_a_wide_character_marks_all_of_it() {
    for text in ["a: [\"x\" é]\n", "é\u{6}a"] {
        let file = SourceFile::new("Pulumi.yaml", text);
        let (_, found) = parse(&file);
        let span = found[0].labels[0].span;
        let marked = text.get(span.start as usize..span.end as usize);
        assert!(marked.is_some_and(|m| m.chars().count() == 1), "{span:?}");
    }
}
