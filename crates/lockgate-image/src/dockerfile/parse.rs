//! Text to instructions: directives, continuation lines, comments, heredocs, flags, JSON form.

use std::ops::Range;
use std::sync::Arc;

use lockgate_diag::codes::image as codes;
use lockgate_diag::{Diagnostic, SourceFile, Span, did_you_mean};

use super::words::{heredoc_mark, split_words};

/// Largest Dockerfile that is read.
pub(crate) const DOCKERFILE_BYTES_MAX: u64 = 1024 * 1024;

macro_rules! keywords {
    ($($variant:ident = $text:literal),*) => {
        /// The instructions of a Dockerfile.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Keyword { $(#[doc = $text] $variant),* }

        impl Keyword {
            const ALL: &[(&'static str, Keyword)] = &[$(($text, Keyword::$variant)),*];

            /// The keyword in upper case.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

keywords! {
    Add = "ADD", Arg = "ARG", Cmd = "CMD", Copy = "COPY", Entrypoint = "ENTRYPOINT", Env = "ENV",
    Expose = "EXPOSE", From = "FROM", Healthcheck = "HEALTHCHECK", Label = "LABEL",
    Maintainer = "MAINTAINER", Onbuild = "ONBUILD", Run = "RUN", Shell = "SHELL",
    Stopsignal = "STOPSIGNAL", User = "USER", Volume = "VOLUME", Workdir = "WORKDIR"
}

/// A word as written, quotes and escapes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The text.
    pub(crate) text: String,
    /// Its place.
    pub(crate) span: Span,
}

/// `--name[=value]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    /// Without the dashes.
    pub(crate) name: String,
    /// After the equals sign.
    pub(crate) value: Option<String>,
    /// Its place.
    pub(crate) span: Span,
}

/// A heredoc with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heredoc {
    /// Name after `<<`; it is also the file name when the body is copied.
    pub(crate) name: String,
    /// Whether variables expand in the body.
    pub(crate) expand: bool,
    /// The body, tabs already stripped for `<<-`.
    pub(crate) body: String,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// What it does.
    pub(crate) keyword: Keyword,
    /// From the keyword to the end of the logical line.
    pub(crate) span: Span,
    /// Leading `--flags`.
    pub(crate) flags: Vec<Flag>,
    /// The rest as one text, continuation lines joined.
    pub(crate) rest: Word,
    /// The rest as words.
    pub(crate) words: Vec<Word>,
    /// The rest, if it is a JSON list of strings.
    pub(crate) json: Option<Vec<String>>,
    /// Bodies of the heredocs, in order of their marks.
    pub(crate) heredocs: Vec<Heredoc>,
}

impl Instruction {
    /// The instruction as it is put into the history: one line, blanks normalised.
    pub(crate) fn summary(&self) -> String {
        let mut text = self.keyword.as_str().to_owned();
        for flag in &self.flags {
            text.push_str(" --");
            text.push_str(&flag.name);
            if let Some(value) = &flag.value {
                text.push('=');
                text.push_str(value);
            }
        }
        text.push(' ');
        text.push_str(self.rest.text.trim());
        text
    }
}

/// A parsed file.
#[derive(Clone, Debug)]
pub(crate) struct Dockerfile {
    /// The text that spans point into.
    pub(crate) file: Arc<SourceFile>,
    /// All instructions in order.
    pub(crate) instructions: Vec<Instruction>,
    /// The escape character, `\` unless a directive says otherwise.
    pub(crate) escape: char,
}

/// Parses a Dockerfile; mistakes are reported all at once, with a usable partial result.
pub(crate) fn parse(file: Arc<SourceFile>) -> (Dockerfile, Vec<Diagnostic>) {
    let mut parser = Parser {
        file: Arc::clone(&file),
        lines: line_ranges(&file.text),
        next: 0,
        escape: '\\',
        diagnostics: Vec::new(),
    };
    parser.directives();
    let mut instructions = Vec::new();
    while let Some(logical) = parser.logical_line() {
        instructions.extend(parser.instruction(&logical, 0, logical.text.len()));
    }
    if instructions.is_empty() && parser.diagnostics.is_empty() {
        parser.diagnostics.push(
            Diagnostic::error(codes::DOCKERFILE_SYNTAX, "the file has no instruction")
                .hint("start with `FROM scratch` or a base image"),
        );
    }
    let dockerfile = Dockerfile {
        file,
        instructions,
        escape: parser.escape,
    };
    (dockerfile, parser.diagnostics)
}

/// Parses the text of one instruction that stands alone (an ONBUILD trigger of a base image).
pub(crate) fn parse_trigger(text: &str, image: &str) -> (Dockerfile, Vec<Diagnostic>) {
    parse(SourceFile::new(format!("ONBUILD of {image}"), text))
}

/// A line with its continuations joined, and where its parts come from.
struct Logical {
    text: String,
    /// `(offset in text, offset in file)` of each physical line, ascending.
    parts: Vec<(usize, usize)>,
}

impl Logical {
    fn source(&self, at: usize) -> usize {
        let part = self
            .parts
            .partition_point(|(start, _)| *start <= at)
            .saturating_sub(1);
        let (start, source) = self.parts[part];
        source + (at - start)
    }

    /// The file range of a text range.
    fn span(&self, range: Range<usize>) -> Span {
        let start = self.source(range.start);
        let end = if range.end > range.start {
            self.source(range.end - 1) + 1
        } else {
            start
        };
        Span::of(start..end)
    }
}

struct Parser {
    file: Arc<SourceFile>,
    lines: Vec<Range<usize>>,
    next: usize,
    escape: char,
    diagnostics: Vec<Diagnostic>,
}

impl Parser {
    /// Reads `# name=value` lines at the very top; anything else ends them.
    fn directives(&mut self) {
        let mut seen = Vec::new();
        while let Some(range) = self.lines.get(self.next).cloned() {
            let line = &self.file.text[range.clone()];
            let line = line.trim_start_matches('\u{feff}').trim();
            let Some((name, value)) = line.strip_prefix('#').and_then(|rest| rest.split_once('='))
            else {
                return;
            };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            if !["syntax", "escape", "check"].contains(&name.as_str()) || value.is_empty() {
                return;
            }
            let value = value.to_owned();
            let span = Span::of(range);
            if seen.contains(&name) {
                self.error(
                    codes::DOCKERFILE_SYNTAX,
                    format!("directive `{name}` is set twice"),
                    span,
                );
            }
            match name.as_str() {
                "escape" if value == "\\" || value == "`" => {
                    self.escape = if value == "`" { '`' } else { '\\' }
                }
                "escape" => self.error(
                    codes::DOCKERFILE_SYNTAX,
                    format!("escape character `{value}` is neither \\ nor `"),
                    span,
                ),
                // The front end is built in, whatever `syntax` names; `check` concerns linters.
                _ => {}
            }
            seen.push(name);
            self.next += 1;
        }
    }

    fn logical_line(&mut self) -> Option<Logical> {
        let mut logical: Option<Logical> = None;
        while let Some(range) = self.lines.get(self.next).cloned() {
            self.next += 1;
            let line = &self.file.text[range.clone()];
            let trimmed = line.trim_start_matches('\u{feff}').trim_start();
            if trimmed.trim().is_empty() || trimmed.starts_with('#') {
                // Blank and comment lines between continuation lines are dropped.
                continue;
            }
            // The first line loses its indentation, later ones keep it.
            let start = if logical.is_none() {
                range.end - trimmed.len()
            } else {
                range.start
            };
            let line = &self.file.text[start..range.end];
            let (text, continues) = match self.continued(line) {
                Some(text) => (text, true),
                None => (line, false),
            };
            let logical = logical.get_or_insert_with(|| Logical {
                text: String::new(),
                parts: Vec::new(),
            });
            logical.parts.push((logical.text.len(), start));
            logical.text.push_str(text);
            if !continues {
                break;
            }
        }
        logical
    }

    /// The line without its continuation mark, if it has one. A doubled mark is none.
    fn continued<'a>(&self, line: &'a str) -> Option<&'a str> {
        let body = line
            .trim_end_matches([' ', '\t'])
            .strip_suffix(self.escape)?;
        (!body.ends_with(self.escape)).then_some(body)
    }

    fn instruction(&mut self, logical: &Logical, start: usize, end: usize) -> Option<Instruction> {
        let text = &logical.text[start..end];
        let keyword_end = text.find(char::is_whitespace).unwrap_or(text.len());
        let written = &text[..keyword_end];
        let keyword_span = logical.span(start..start + keyword_end);
        let found = Keyword::ALL
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(written));
        let Some((_, keyword)) = found else {
            let mut diagnostic = Diagnostic::error(
                codes::UNKNOWN_INSTRUCTION,
                format!("unknown instruction `{written}`"),
            )
            .at(&self.file, keyword_span, "");
            if let Some(near) = did_you_mean(
                &written.to_uppercase(),
                Keyword::ALL.iter().map(|(name, _)| *name),
            ) {
                diagnostic = diagnostic.hint(format!("write `{near}`"));
            }
            self.diagnostics.push(diagnostic);
            return None;
        };
        let (flags, at) = self.flags(logical, start + keyword_end, end);
        let rest_text = logical.text[at..end].trim_end();
        let rest = Word {
            text: rest_text.to_owned(),
            span: logical.span(at..at + rest_text.len()),
        };
        let words: Vec<Word> = split_words(rest_text, self.escape)
            .into_iter()
            .map(|range| Word {
                text: rest_text[range.clone()].to_owned(),
                span: logical.span(at + range.start..at + range.end),
            })
            .collect();
        let span = logical.span(start..(at + rest_text.len()).max(start + keyword_end));
        let json = json_form(rest_text);
        let mut heredocs = Vec::new();
        if matches!(keyword, Keyword::Add | Keyword::Copy | Keyword::Run) && json.is_none() {
            for word in &words {
                if let Some((name, expand, strip)) = heredoc_mark(&word.text) {
                    heredocs.extend(self.heredoc(name, expand, strip, word.span));
                }
            }
        }
        if rest_text.is_empty() && *keyword != Keyword::Onbuild {
            self.error(
                codes::INSTRUCTION_ARGUMENTS,
                format!("`{}` has no argument", keyword.as_str()),
                span,
            );
            return None;
        }
        Some(Instruction {
            keyword: *keyword,
            span,
            flags,
            rest,
            words,
            json,
            heredocs,
        })
    }

    /// Leading `--flags` from `at` on, and where the rest starts.
    fn flags(&self, logical: &Logical, mut at: usize, end: usize) -> (Vec<Flag>, usize) {
        let skip_blanks = |at: usize| end - logical.text[at..end].trim_start().len();
        let mut flags = Vec::new();
        loop {
            at = skip_blanks(at);
            let rest = &logical.text[at..end];
            let Some(word) = split_words(rest, self.escape).into_iter().next() else {
                return (flags, at);
            };
            let Some(flag) = rest[word.clone()].strip_prefix("--") else {
                return (flags, at);
            };
            if flag.is_empty() {
                return (flags, skip_blanks(at + word.end));
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            flags.push(Flag {
                name: name.to_owned(),
                value,
                span: logical.span(at..at + word.end),
            });
            at += word.end;
        }
    }

    fn heredoc(&mut self, name: String, expand: bool, strip: bool, span: Span) -> Option<Heredoc> {
        let mut body = String::new();
        while let Some(range) = self.lines.get(self.next).cloned() {
            self.next += 1;
            let line = &self.file.text[range];
            let line = if strip {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if line == name {
                return Some(Heredoc { name, expand, body });
            }
            body.push_str(line);
            body.push('\n');
        }
        self.error(
            codes::DOCKERFILE_SYNTAX,
            format!("heredoc `{name}` is never ended"),
            span,
        );
        None
    }

    fn error(&mut self, code: lockgate_diag::Code, message: String, span: Span) {
        self.diagnostics
            .push(Diagnostic::error(code, message).at(&self.file, span, ""));
    }
}

/// The strings of a JSON list; anything else is the shell form.
fn json_form(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// Byte ranges of the lines without their ends.
fn line_ranges(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    text.split_inclusive('\n')
        .map(|line| {
            let range = start..start + line.trim_end_matches(['\n', '\r']).len();
            start += line.len();
            range
        })
        .collect()
}
