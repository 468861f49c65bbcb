//! The renderer is tested at a fixed width, as the user sees it.

use super::*;
use crate::codes;

#[test]
fn a_place_is_drawn_with_its_line_and_hint() {
    let file = SourceFile::new(
        "Pulumi.yaml",
        "name: x\nresources:\n  web: größe ${dbb.id}\n",
    );
    let start = file.text.find("dbb").unwrap();
    let diagnostic = Diagnostic::error(codes::program::UNKNOWN_NAME, "no resource is named `dbb`")
        .at(&file, Span::of(start..start + 3), "not found")
        .hint("did you mean `db`");
    let text = Renderer::default().render(&diagnostic);
    let expected = "\
error[LG0208]: no resource is named `dbb`
 --> Pulumi.yaml:3:16
  |
3 |   web: größe ${dbb.id}
  |                ^^^ not found
  |
  = hint: did you mean `db`
";
    assert_eq!(text, expected);
}

#[test]
fn spans_outside_the_text_do_not_panic() {
    let file = SourceFile::new("a", "ä\r\nb");
    for (start, end) in [(1, 1), (0, 99), (99, 99), (2, 4), (5, 5)] {
        let diagnostic = Diagnostic::warning(codes::program::UNKNOWN_NAME, "x").at(
            &file,
            Span::new(start, end),
            "\u{1b}[31mred",
        );
        let text = Renderer::default().render(&diagnostic);
        assert!(
            !text.contains('\u{1b}'),
            "escape reached the terminal: {text:?}"
        );
    }
}

#[test]
fn json_counts_lines_and_columns_from_one() {
    let file = SourceFile::new("a.yaml", "x\nyß z");
    let diagnostic =
        Diagnostic::error(codes::program::UNKNOWN_NAME, "m").at(&file, Span::new(6, 7), "here");
    let value = to_json(&diagnostic);
    assert_eq!(value["labels"][0]["line"], 2);
    assert_eq!(value["labels"][0]["column"], 4);
}
