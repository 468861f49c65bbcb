//! References inside text: `${name.property["key"][0]}`, with `$$` for one `$`
//! (yaml guide, section 4).

use std::ops::Range;

use crate::expression::Step;

/// A piece of a scanned text. Ranges are bytes of that text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Reference {
        range: Range<usize>,
        root: String,
        root_range: Range<usize>,
        steps: Vec<(Step, Range<usize>)>,
    },
}

/// A malformed reference.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Malformed {
    /// What to mark.
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// Splits text into plain pieces and references.
pub(crate) fn scan(text: &str) -> Result<Vec<Piece>, Malformed> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(offset) = text[at..].find('$') {
        plain.push_str(&text[at..at + offset]);
        at += offset;
        let rest = &text[at..];
        if rest.starts_with("$$") {
            plain.push('$');
            at += 2;
        } else if rest.starts_with("${") {
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            let (piece, end) = Scanner {
                text,
                start: at,
                at: at + 2,
            }
            .reference()?;
            pieces.push(piece);
            at = end;
        } else {
            plain.push('$');
            at += 1;
        }
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

struct Scanner<'t> {
    text: &'t str,
    start: usize,
    at: usize,
}

impl Scanner<'_> {
    fn reference(mut self) -> Result<(Piece, usize), Malformed> {
        let root_start = self.at;
        let root = match self.peek() {
            Some('[') => match self.bracket()? {
                Step::Key(key) => key,
                _ => {
                    return Err(self.malformed(
                        root_start,
                        "a reference cannot begin with an index",
                        "write the name first",
                    ));
                }
            },
            _ => self.name(),
        };
        let root_range = root_start..self.at;
        let mut steps = Vec::new();
        loop {
            let step_start = self.at;
            match self.peek() {
                None => return Err(self.unclosed()),
                Some('}') => {
                    self.at += 1;
                    break;
                }
                Some('.') => self.at += 1,
                Some('[') => {
                    let step = self.bracket()?;
                    steps.push((step, step_start..self.at));
                }
                Some(_) => {
                    let name = self.name();
                    steps.push((Step::Name(name), step_start..self.at));
                }
            }
        }
        if root.is_empty() {
            return Err(Malformed {
                range: self.start..self.at,
                message: "reference is empty".to_owned(),
                hint: "write a name between the braces, or `$${}` for the text itself".to_owned(),
            });
        }
        let piece = Piece::Reference {
            range: self.start..self.at,
            root,
            root_range,
            steps,
        };
        Ok((piece, self.at))
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn name(&mut self) -> String {
        let rest = &self.text[self.at..];
        let end = rest.find(['.', '[', '}']).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    /// `["key"]` or `[0]`.
    fn bracket(&mut self) -> Result<Step, Malformed> {
        let start = self.at;
        if self.text[start..].starts_with("[\"") {
            return self.key(start);
        }
        let Some(length) = self.text[start..].find(']') else {
            return Err(self.unclosed());
        };
        let inner = &self.text[start + 1..start + length];
        self.at = start + length + 1;
        let digits = inner.strip_prefix('+').unwrap_or(inner);
        if !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && let Ok(index) = digits.parse()
        {
            return Ok(Step::Index(index));
        }
        let word = inner.trim().trim_matches('\'');
        let hint = if inner.starts_with('-') {
            "count from 0 at the front".to_owned()
        } else if word.is_empty() {
            "write an index like `[0]` or a key like `[\"name\"]`".to_owned()
        } else if word.bytes().all(|b| b.is_ascii_digit()) {
            format!("write `[{word}]`")
        } else {
            format!("write `[\"{word}\"]` or `.{word}`")
        };
        Err(self.malformed(start, &format!("invalid index `{inner}`"), &hint))
    }

    fn key(&mut self, start: usize) -> Result<Step, Malformed> {
        let mut key = String::new();
        let mut chars = self.text[start + 2..].char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            match c {
                '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                    chars.next();
                    key.push('"');
                }
                '"' => {
                    let end = start + 2 + offset + 1;
                    if !self.text[end..].starts_with(']') {
                        return Err(self.malformed(
                            start,
                            "a key in a reference must end with `\"]`",
                            "add `]`",
                        ));
                    }
                    self.at = end + 1;
                    return Ok(Step::Key(key));
                }
                c => key.push(c),
            }
        }
        Err(self.unclosed())
    }

    fn unclosed(&self) -> Malformed {
        Malformed {
            range: self.start..self.start + 2,
            message: "reference is not closed".to_owned(),
            hint: "add `}`, or write `$${` for the text `${`".to_owned(),
        }
    }

    fn malformed(&self, start: usize, message: &str, hint: &str) -> Malformed {
        Malformed {
            range: start..start + 1,
            message: message.to_owned(),
            hint: hint.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// References as `root step step`, text in quotes.
    fn shown(text: &str) -> String {
        match scan(text) {
            Err(error) => format!("error {:?} {}", error.range, error.message),
            Ok(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => format!("{text:?}"),
                    Piece::Reference { root, steps, .. } => {
                        let steps: Vec<String> =
                            steps.iter().map(|(s, _)| format!(" {s:?}")).collect();
                        format!("<{root}{}>", steps.concat())
                    }
                })
                .collect(),
        }
    }

    #[test]
    fn references_are_scanned_as_the_original_does() {
        for (text, expected) in [
            ("plain", "\"plain\""),
            ("", "\"\""),
            ("a $ b", "\"a $ b\""),
            ("$${x}", "\"${x}\""),
            ("$$${x}", "\"$\"<x>"),
            ("${a.b[0][\"c\"]}", "<a Name(\"b\") Index(0) Key(\"c\")>"),
            ("${a..b}", "<a Name(\"b\")>"),
            ("${a[+1]b}", "<a Index(1) Name(\"b\")>"),
            ("${ a }", "< a >"),
            ("${a-b:c}", "<a-b:c>"),
            ("x${[\"a b\"].c}y", "\"x\"<a b Name(\"c\")>\"y\""),
            ("${a[\"}.\\\"\"]}", "<a Key(\"}.\\\"\")>"),
            ("${}", "error 0..3 reference is empty"),
            ("x${db.url", "error 1..3 reference is not closed"),
            ("${db['url']}", "error 4..5 invalid index `'url'`"),
            ("${a[ 0 ]}", "error 3..4 invalid index ` 0 `"),
            ("${a[]}", "error 3..4 invalid index ``"),
            ("${a[-1]}", "error 3..4 invalid index `-1`"),
            (
                "${[0]}",
                "error 2..3 a reference cannot begin with an index",
            ),
            (
                "${a[\"b\"}",
                "error 3..4 a key in a reference must end with `\"]`",
            ),
            ("${a[\"b", "error 0..2 reference is not closed"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
