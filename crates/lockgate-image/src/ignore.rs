//! `.dockerignore`: its own language, not gitignore's (see images.md §5.4). Parent-aware: a
//! pattern that matches a folder matches everything below it, and the last match wins.

use std::sync::Arc;

use lockgate_diag::codes::image as codes;
use lockgate_diag::{Diagnostic, SourceFile, Span};
use regex::bytes::{Regex, RegexBuilder};

/// Most patterns of a file; more is a mistake, and matching would be slow.
const PATTERNS_MAX: usize = 4096;

/// A compiled ignore file.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    /// `!`: what matches is included again.
    include: bool,
    matcher: Matcher,
    /// Text up to the first special character, for pruning.
    literal: Vec<u8>,
}

#[derive(Debug)]
enum Matcher {
    Exact(Vec<u8>),
    /// `dir/**`.
    Prefix(Vec<u8>),
    /// `**foo`, `**/foo`.
    Suffix(Vec<u8>),
    Regex(Regex),
}

/// Which patterns matched a folder; its children start from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matched(Arc<[bool]>);

impl Ignore {
    /// Compiles an ignore file; each malformed line is reported.
    pub(crate) fn parse(file: &Arc<SourceFile>) -> (Self, Vec<Diagnostic>) {
        let (mut ignore, mut diagnostics) = (Self::default(), Vec::new());
        let mut start = 0;
        for line in file.text.split_inclusive('\n') {
            let range = start..start + line.trim_end_matches(['\n', '\r']).len();
            start += line.len();
            let text = file.text[range.clone()].trim_start_matches('\u{feff}');
            if text.starts_with('#') || text.trim().is_empty() {
                continue;
            }
            let compiled = compile_line(text.trim()).and_then(|pattern| match pattern {
                Some(_) if ignore.patterns.len() >= PATTERNS_MAX => {
                    Err(format!("the file has more than {PATTERNS_MAX} patterns"))
                }
                pattern => Ok(pattern),
            });
            match compiled {
                Ok(pattern) => ignore.patterns.extend(pattern),
                Err(reason) => diagnostics.push(
                    Diagnostic::error(
                        codes::IGNORE_PATTERN,
                        format!("pattern `{}`: {reason}", text.trim()),
                    )
                    .at(file, Span::of(range), ""),
                ),
            }
        }
        (ignore, diagnostics)
    }

    /// Compiles patterns that come one by one, such as `--exclude`.
    pub(crate) fn from_patterns(patterns: &[String]) -> Result<Self, String> {
        let mut ignore = Self::default();
        for pattern in patterns {
            ignore.patterns.extend(
                compile_line(pattern.trim())
                    .map_err(|reason| format!("pattern `{pattern}`: {reason}"))?,
            );
        }
        Ok(ignore)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether `path` is excluded, and what its children start from.
    pub(crate) fn matches(&self, path: &[u8], parent: &Matched) -> (bool, Matched) {
        let mut excluded = false;
        let matched: Arc<[bool]> = self
            .patterns
            .iter()
            .enumerate()
            .map(|(i, pattern)| {
                let hit = parent.0.get(i).copied().unwrap_or(false) || pattern.matcher.hits(path);
                if hit {
                    excluded = !pattern.include;
                }
                hit
            })
            .collect();
        (excluded, Matched(matched))
    }

    /// Like [`Self::matches`], for a leaf: nothing is kept.
    pub(crate) fn excludes(&self, path: &[u8], parent: &Matched) -> bool {
        let last = self.patterns.iter().enumerate().rev().find(|(i, pattern)| {
            parent.0.get(*i).copied().unwrap_or(false) || pattern.matcher.hits(path)
        });
        last.is_some_and(|(_, pattern)| !pattern.include)
    }

    /// Like [`Self::excludes`], for a path whose parents were not visited.
    pub(crate) fn excludes_deep(&self, path: &[u8]) -> bool {
        let mut parent = Matched::default();
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            parent = self.matches(&path[..at], &parent).1;
        }
        self.excludes(path, &parent)
    }

    /// Whether something below an excluded folder may be included again.
    pub(crate) fn may_include_below(&self, folder: &[u8]) -> bool {
        let below = [folder, b"/"].concat();
        self.patterns
            .iter()
            .filter(|p| p.include)
            .any(|p| p.literal.starts_with(&below) || below.starts_with(&p.literal))
    }
}

impl Matcher {
    fn hits(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(prefix) => path.starts_with(prefix),
            // `**/foo` is also `foo` at the root.
            Self::Suffix(suffix) => {
                path.ends_with(suffix) || suffix.strip_prefix(b"/").is_some_and(|s| s == path)
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// `None` for a line that is empty once cleaned, such as `.` or `/`.
fn compile_line(line: &str) -> Result<Option<Pattern>, String> {
    let (include, text) = match line.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, line),
    };
    if include && text.is_empty() {
        return Err("`!` stands alone".to_owned());
    }
    let text = clean(text);
    if text.is_empty() || text == "." {
        return Ok(None);
    }
    let literal = text.bytes().take_while(|b| !b"*?[\\".contains(b)).collect();
    Ok(Some(Pattern {
        include,
        matcher: compile(&text)?,
        literal,
    }))
}

/// Lexical cleaning as Go's `path.Clean`, then without a leading slash.
fn clean(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() && !text.starts_with('/') {
                    // A path above the context matches nothing in it.
                    return "..".to_owned();
                }
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn compile(text: &str) -> Result<Matcher, String> {
    crate::pattern::matches(text.as_bytes(), b"")
        .map_err(|_| "its brackets or escapes are malformed".to_owned())?;
    let special = |text: &str| text.contains(['*', '?', '[', ']', '\\']);
    if !special(text) {
        return Ok(Matcher::Exact(text.as_bytes().to_vec()));
    }
    if let Some(suffix) = text.strip_prefix("**")
        && !special(suffix)
    {
        return Ok(Matcher::Suffix(suffix.as_bytes().to_vec()));
    }
    if let Some(prefix) = text.strip_suffix("**")
        && !special(prefix)
    {
        return Ok(Matcher::Prefix(prefix.as_bytes().to_vec()));
    }
    RegexBuilder::new(&regex_text(text))
        .dot_matches_new_line(true)
        .unicode(true)
        .size_limit(1 << 20)
        .build()
        .map(Matcher::Regex)
        .map_err(|_| "its brackets are malformed".to_owned())
}

/// The pattern as a regular expression over the whole path.
fn regex_text(pattern: &str) -> String {
    let mut out = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                out.push_str(if chars.peek().is_none() {
                    "(?s-u:.)*"
                } else {
                    "(?:(?s-u:.)*/)?"
                });
            }
            // Bytes, because a name need not be UTF-8; `?` is one character where it is.
            '*' => out.push_str("(?-u:[^/])*"),
            '?' => out.push_str("(?:[^/]|(?-u:[^/]))"),
            '\\' => match chars.next() {
                Some(next) => out.push_str(&regex::escape(&next.to_string())),
                None => out.push_str("\\\\"),
            },
            // A class is the same in both languages, but for the characters regex treats
            // specially inside one.
            '[' => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                while let Some(c) = chars.next() {
                    match c {
                        ']' => {
                            out.push(']');
                            break;
                        }
                        '-' => out.push('-'),
                        '\\' => out.push_str(&chars.next().map(class_escape).unwrap_or_default()),
                        c => out.push_str(&class_escape(c)),
                    }
                }
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push('$');
    out
}

fn class_escape(c: char) -> String {
    if c.is_alphanumeric() {
        c.to_string()
    } else {
        format!("\\{c}")
    }
}

#[cfg(test)]
mod tests;
