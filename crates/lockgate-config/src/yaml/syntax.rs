//! The scanner's errors in our own words: what was found, where, and what to write instead.

use std::sync::Arc;

use granit_parser::{ErrorKind, ScanError};
use lockgate_diag::codes::program::YAML_SYNTAX;
use lockgate_diag::{Diagnostic, SourceFile, Span};

/// Translates a scanner error; the scanner's own text becomes the cause.
pub(super) fn translate(file: &Arc<SourceFile>, error: &ScanError) -> Diagnostic {
    let at = error
        .marker()
        .byte_offset()
        .unwrap_or_default()
        .min(file.text.len());
    if let Some(found) = unquoted_reference(file, at) {
        return found;
    }
    if let Some(found) = tab(file, at, error.kind()) {
        return found;
    }
    Diagnostic::error(YAML_SYNTAX, words(error.kind()))
        .at(file, character(&file.text, at), "")
        .cause(error.info())
}

/// The character at `at`, whole; one past the end where the text ends.
fn character(text: &str, at: usize) -> Span {
    let length = text[at..].chars().next().map_or(1, char::len_utf8);
    Span::of(at..at + length)
}

fn words(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::RecursionLimitExceeded => "values are nested too deeply, the limit is 255",
        ErrorKind::UnclosedQuotedScalar => "a quoted text is not closed",
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => "a `[` or `{` is not closed",
        ErrorKind::MismatchedFlowCollectionEnd { .. } | ErrorKind::MisplacedFlowCollectionEnd => {
            "a bracket closes nothing"
        }
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::SimpleKeyExpected
        | ErrorKind::InvalidSimpleKey => {
            "`:` is not expected here: text with a colon must be quoted"
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::MappingKeyNotAllowed
        | ErrorKind::BlockSequenceEntryNotAllowed => {
            "the indentation does not match the lines above"
        }
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape => "unknown escape in a quoted text",
        _ => "the text is not valid YAML here",
    }
}

/// `[${a}]`: YAML reads `{` as the start of a map.
fn unquoted_reference(file: &Arc<SourceFile>, at: usize) -> Option<Diagnostic> {
    let text = &file.text;
    let line_start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let line_end = text[at..].find('\n').map_or(text.len(), |i| at + i);
    let line = &text[line_start..line_end];
    // The scanner stops at the brace or somewhere behind it on the same line.
    let dollar = line
        .match_indices("${")
        .map(|(i, _)| line_start + i)
        .filter(|i| *i <= at)
        .filter(|i| {
            let before = text[line_start..*i].trim_end();
            before.ends_with(['[', ',', '{'])
                || before.ends_with(':') && in_flow(&before[..before.len() - 1])
        })
        .last()?;
    let close = text[dollar..line_end]
        .find('}')
        .map_or(line_end, |i| dollar + i + 1);
    let reference = &text[dollar..close];
    Some(
        Diagnostic::error(
            YAML_SYNTAX,
            "a reference inside `[ ]` or `{ }` must be quoted",
        )
        .at(file, Span::of(dollar + 1..dollar + 2), "")
        .hint(format!("write `[\"{reference}\"]`")),
    )
}

fn in_flow(line: &str) -> bool {
    line.contains(['[', '{'])
}

fn tab(file: &Arc<SourceFile>, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    let text = &file.text;
    let line_start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let indent = text[line_start..]
        .bytes()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count();
    let named = matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar
    );
    let in_indent = text[line_start..line_start + indent].find('\t');
    let tab = match in_indent {
        Some(offset) => line_start + offset,
        None if named => at,
        None => return None,
    };
    Some(
        Diagnostic::error(YAML_SYNTAX, "a tab cannot indent YAML")
            .at(file, character(text, tab), "")
            .hint("replace it by spaces"),
    )
}
