//! Splitting an argument text into words, quotes kept.

use std::ops::Range;

/// Byte ranges of the words of `text`: blanks separate, except inside quotes and after the
/// escape character (BuildKit parser, `parseWords`).
pub(super) fn split_words(text: &str, escape: char) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if let Some(start) = start.take() {
                    words.push(start..at);
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if c == q => quote = None,
            // Single quotes take everything literally.
            (None | Some('"'), c) if c == escape => {
                start.get_or_insert(at);
                chars.next();
            }
            _ => {}
        }
        start.get_or_insert(at);
    }
    if let Some(start) = start {
        words.push(start..text.len());
    }
    words
}

/// The heredoc a word opens: `<<[-]NAME` or with the name in quotes.
pub(super) fn heredoc_mark(word: &str) -> Option<(String, bool, bool)> {
    let rest = word.strip_prefix("<<")?;
    let (strip, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let quoted = rest.contains(['"', '\'']);
    let name: String = rest.chars().filter(|c| *c != '"' && *c != '\'').collect();
    let plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    (!name.is_empty() && name.chars().all(plain)).then_some((name, !quoted, strip))
}
