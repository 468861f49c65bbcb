//! The rules of images.md §5.4, one row each.

use super::*;

fn excluded(lines: &str, path: &str) -> bool {
    let (ignore, diagnostics) = Ignore::parse(&SourceFile::new(".dockerignore", lines));
    assert!(diagnostics.is_empty(), "{lines:?}: {diagnostics:?}");
    ignore.excludes_deep(path.as_bytes())
}

#[test]
fn patterns_follow_dockers_rules_not_gits() {
    for (lines, path, expected) in [
        ("foo", "foo", true),
        ("foo", "foo/a/b", true),
        ("foo", "x/foo", false),
        ("*.go", "a.go", true),
        ("*.go", "x/a.go", false),
        ("**/*.go", "x/y/a.go", true),
        ("**/*.go", "a.go", true),
        ("foo/", "foo", true),
        ("/foo", "foo", true),
        ("**foo", "x/barfoo", true),
        ("**foo", "foo/x", true),
        ("**foo", "fo", false),
        ("**/foo", "foo", true),
        ("**/foo", "x/foo", true),
        ("**/foo", "xfoo", false),
        ("docs\n!docs/README.md", "docs/README.md", false),
        ("docs\n!docs/README.md", "docs/other.md", true),
        ("!docs/README.md\ndocs", "docs/README.md", true),
        ("docs/*\n!docs/keep", "docs/keep/deep/file", false),
        ("[^a]x", "bx", true),
        ("[^a]x", "ax", false),
        ("[!a]x", "!x", true),
        ("[!a]x", "bx", false),
        ("  foo  ", "foo", true),
        ("\u{feff}foo", "foo", true),
        ("#foo", "#foo", false),
        (" #x", "#x", true),
        ("a/../b", "b", true),
        ("./b", "b", true),
        (".", "anything", false),
        ("/", "anything", false),
        ("../b", "b", false),
        ("*\n! keep", "keep", false),
        ("dir/**", "dir", false),
        ("dir/**", "dir/a/b", true),
        ("dir**", "dirx/y", true),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a/x/y/b", true),
        ("a/*/b", "a/x/y/b", false),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("a.c", "abc", false),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("*", "a/b", true),
        ("**", "a/b", true),
        ("(x)+{y}|$", "(x)+{y}|$", true),
        ("", "a", false),
        ("a\r\nb\r\n", "b", true),
    ] {
        assert_eq!(excluded(lines, path), expected, "{lines:?} on {path:?}");
    }
}

#[test]
fn non_utf8_names_match_literally() {
    let (ignore, _) = Ignore::parse(&SourceFile::new(".dockerignore", "*.bin\n"));
    assert!(ignore.excludes_deep(b"\xff.bin"));
    assert!(!ignore.excludes_deep(b"\xff.txt"));
}

#[test]
fn malformed_patterns_stop_the_build_with_their_line() {
    let file = SourceFile::new(".dockerignore", "ok\n[\n!\n[a-]\n");
    let (_, diagnostics) = Ignore::parse(&file);
    let lines: Vec<usize> = diagnostics
        .iter()
        .map(|d| file.line_column(d.labels[0].span.start).0)
        .collect();
    assert_eq!(lines, [2, 3, 4]);
    assert!(diagnostics.iter().all(|d| d.code == codes::IGNORE_PATTERN));
}

#[test]
fn folders_are_pruned_only_when_nothing_below_can_return() {
    for (lines, folder, expected) in [
        ("docs", "docs", false),
        ("docs\n!docs/README.md", "docs", true),
        ("docs\n!docs/a/README.md", "docs/b", false),
        ("docs\n!**/README.md", "docs", true),
        ("docs\n!other", "docs", false),
        ("docs\n!docs", "docs", true),
    ] {
        let (ignore, _) = Ignore::parse(&SourceFile::new(".dockerignore", lines));
        assert_eq!(
            ignore.may_include_below(folder.as_bytes()),
            expected,
            "{lines:?} below {folder}"
        );
    }
}
