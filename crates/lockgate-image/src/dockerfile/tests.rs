//! Parsing and expansion: one row per rule.

use std::collections::BTreeMap;

use lockgate_diag::SourceFile;

use super::expand::{Variables, expand, expand_body};
use super::*;

struct Map(BTreeMap<&'static str, &'static str>);

impl Variables for Map {
    fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).copied()
    }
}

fn parsed(text: &str) -> Vec<String> {
    let (file, diagnostics) = parse(SourceFile::new("Dockerfile", text));
    assert!(diagnostics.is_empty(), "{text}: {diagnostics:?}");
    file.instructions
        .iter()
        .map(|i| {
            let bodies: String = i
                .heredocs
                .iter()
                .map(|h| format!(" {}={:?}", h.name, h.body))
                .collect();
            let json = i
                .json
                .as_ref()
                .map(|j| format!(" json{j:?}"))
                .unwrap_or_default();
            format!("{}{json}{bodies}", i.summary())
        })
        .collect()
}

#[test]
fn instructions_are_split_as_in_docker() {
    for (text, expected) in [
        ("from scratch", &["FROM scratch"][..]),
        ("FROM a \\\n  AS b\n", &["FROM a   AS b"]),
        (
            "FROM a\nRUN x \\\n# comment\n\n  y\n",
            &["FROM a", "RUN x   y"],
        ),
        ("FROM a\nCMD x \\", &["FROM a", "CMD x"]),
        ("FROM a\r\nUSER 1\r\n", &["FROM a", "USER 1"]),
        (
            "# escape=`\nFROM a\nENV A=b `\n C=d\n",
            &["FROM a", "ENV A=b  C=d"],
        ),
        ("# note\n# escape=`\nFROM a\\\n b\n", &["FROM a b"]),
        (
            "FROM a\nCMD [\"x\", \"y\"]\n",
            &["FROM a", "CMD [\"x\", \"y\"] json[\"x\", \"y\"]"],
        ),
        ("FROM a\nCMD ['x']\n", &["FROM a", "CMD ['x']"]),
        (
            "FROM a\nCOPY --chown=1:2 --link x y\n",
            &["FROM a", "COPY --chown=1:2 --link x y"],
        ),
        (
            "FROM a\nCOPY <<A <<-\"B\" /d/\none\nA\n\ttwo\n\tB\nUSER 1\n",
            &[
                "FROM a",
                "COPY <<A <<-\"B\" /d/ A=\"one\\n\" B=\"two\\n\"",
                "USER 1",
            ],
        ),
        ("\u{feff}FROM a\n", &["FROM a"]),
        (
            "FROM a\nENV X=\"a \\\" b\" Y='c d'\n",
            &["FROM a", "ENV X=\"a \\\" b\" Y='c d'"],
        ),
    ] {
        assert_eq!(parsed(text), expected, "{text:?}");
    }
}

#[test]
fn mistakes_are_reported_together_with_their_places() {
    let file = SourceFile::new("Dockerfile", "FROM a\nCOYP a b\nUSER\nCOPY <<E /x\nbody\n");
    let (_, diagnostics) = parse(std::sync::Arc::clone(&file));
    let found: Vec<(&str, usize, &str)> = diagnostics
        .iter()
        .map(|d| {
            (
                d.code.as_str(),
                file.line_column(d.labels[0].span.start).0,
                d.hints.first().map_or("", String::as_str),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("LG0302", 2, "write `COPY`"),
            ("LG0303", 3, ""),
            ("LG0301", 4, "")
        ]
    );
}

#[test]
fn spans_survive_continuation_lines() {
    let text = "FROM a\nENV A=1 \\\n    B=2\n";
    let (file, _) = parse(SourceFile::new("Dockerfile", text));
    let word = &file.instructions[1].words[1];
    assert_eq!(
        &text[word.span.start as usize..word.span.end as usize],
        "B=2"
    );
}

#[test]
fn variables_expand_by_the_rules_of_the_shell_subset() {
    let map = Map(BTreeMap::from([
        ("x", "val"),
        ("empty", ""),
        ("p", "a/b/c.tar.gz"),
    ]));
    for (text, expected) in [
        ("$x ${x}", Ok("val val")),
        ("${x}y$xy", Ok("valy")),
        ("\\$x", Ok("$x")),
        ("'$x'", Ok("$x")),
        ("\"$x\"", Ok("val")),
        ("\"a\\\"b\\$c\\d\"", Ok("a\"b$c\\d")),
        ("a\\ b", Ok("a b")),
        ("${n:-w} ${empty:-w} ${empty-w}", Ok("w w ")),
        ("${x:+w} ${empty:+w}|${empty+w}", Ok("w |w")),
        ("${n:-${x}}", Ok("val")),
        (
            "${p#*/} ${p##*/} ${p%.*} ${p%%.*}",
            Ok("b/c.tar.gz c.tar.gz a/b/c.tar a/b/c"),
        ),
        ("${p/\\//-} ${p//\\//-}", Ok("a-b/c.tar.gz a-b-c.tar.gz")),
        ("$", Ok("$")),
        ("a$ b", Ok("a$ b")),
        ("${n:?is needed}", Err("variable `n`: is needed")),
        ("${x", Err("`${x` is never closed")),
        ("${}", Err("`${` is not followed by a name")),
        ("${x:w}", Err("unknown modifier `w` of `x`")),
        ("'a", Err("a single quote is never closed")),
        ("\"a", Err("a double quote is never closed")),
    ] {
        let result = expand(text, '\\', &map);
        assert_eq!(
            result.as_deref().map_err(|e| e.0.as_str()),
            expected,
            "{text}"
        );
    }
}

#[test]
fn heredoc_bodies_keep_their_quotes() {
    let map = Map(BTreeMap::from([("x", "val")]));
    assert_eq!(
        expand_body("a \"$x\" '$x' \\$x \\n", '\\', &map).unwrap(),
        "a \"val\" 'val' $x \\n"
    );
}

#[test]
fn values_do_not_grow_without_end() {
    struct Long(String);
    impl Variables for Long {
        fn find(&self, _: &str) -> Option<&str> {
            Some(&self.0)
        }
    }
    let long = Long("x".repeat(70_000));
    assert_eq!(expand("$a", '\\', &long).map(|v| v.len()), Ok(70_000));
    for text in [
        "$a$a",
        "\"$a$a\"",
        "${b:-$a$a}",
        "${b:+$a$a}",
        "${a%x}",
        "${a//x/y}",
    ] {
        assert!(expand(text, '\\', &long).is_err(), "{text}");
    }
    let body = "$a".repeat(300);
    assert!(expand_body(&body, '\\', &long).is_err());
}
