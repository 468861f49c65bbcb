//! Maps with known fields: names match without regard to case, a wrong case is a warning, an
//! unknown field is reported with the nearest known one.

use std::sync::Arc;

use lockgate_diag::codes::program::{DUPLICATE_KEY, FIELD_CASE, UNKNOWN_FIELD, WRONG_KIND};
use lockgate_diag::{Code, Diagnostic, SourceFile, Span, did_you_mean};

use super::{Kind, Node};

/// Collects the diagnostics of one file.
#[derive(Debug)]
pub struct Report {
    /// The file they point into.
    pub file: Arc<SourceFile>,
    /// What was found.
    pub found: Vec<Diagnostic>,
}

impl Report {
    /// An empty report on `file`.
    pub fn new(file: &Arc<SourceFile>) -> Self {
        Self {
            file: Arc::clone(file),
            found: Vec::new(),
        }
    }

    /// Adds an error at `span` and returns it for hints.
    pub fn error(&mut self, code: Code, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::error(code, message).at(&self.file, span, ""))
    }

    /// Adds a warning at `span` and returns it for hints.
    pub fn warn(&mut self, code: Code, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::warning(code, message).at(&self.file, span, ""))
    }

    fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        let index = self.found.len();
        self.found.push(diagnostic);
        &mut self.found[index]
    }

    /// Reports that `node` is not `expected` (`a string`, `a map` …). Silent for refused nodes.
    pub fn wrong_kind(&mut self, subject: &str, expected: &str, node: &Node<'_>) {
        if node.kind == Kind::Refused {
            return;
        }
        let message = format!("`{subject}` must be {expected}, found {}", node.kind_name());
        let raw = self.raw(node.span).to_owned();
        let quote = expected == "a string" && matches!(node.kind, Kind::Number(_) | Kind::Bool(_));
        let diagnostic = self.error(WRONG_KIND, node.span, message);
        if quote {
            diagnostic.hints.push(format!("write `\"{raw}\"`"));
        }
    }

    /// The text of a span.
    pub fn raw(&self, span: Span) -> &str {
        self.file
            .text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// The text of a string field; reports other kinds.
    pub fn string(&mut self, subject: &str, node: &Node<'_>) -> Option<String> {
        let text = node.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_kind(subject, "a string", node);
        }
        text
    }

    /// The value of a boolean field; reports other kinds.
    pub fn boolean(&mut self, subject: &str, node: &Node<'_>) -> Option<bool> {
        match node.kind {
            Kind::Bool(value) => Some(value),
            _ => {
                self.wrong_kind(subject, "a boolean", node);
                None
            }
        }
    }

    /// The items of a list of strings; reports other kinds and leaves wrong items out.
    pub fn strings(&mut self, subject: &str, node: &Node<'_>) -> Vec<String> {
        match &node.kind {
            Kind::List(items) => items
                .iter()
                .filter_map(|item| self.string(subject, item))
                .collect(),
            _ => {
                self.wrong_kind(subject, "a list of strings", node);
                Vec::new()
            }
        }
    }
}

/// What to do about fields that are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Warn about each.
    Warn,
    /// Warn only about likely typing errors: other readers of the file have fields of their own.
    WarnNear,
}

/// The known fields found in a map.
#[derive(Debug)]
pub struct Fields<'t, 'src> {
    found: Vec<(&'static str, &'t Node<'src>, &'t Node<'src>)>,
}

impl<'t, 'src> Fields<'t, 'src> {
    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&'t Node<'src>> {
        self.entry(name).map(|(_, value)| value)
    }

    /// Key and value of a field.
    pub fn entry(&self, name: &str) -> Option<(&'t Node<'src>, &'t Node<'src>)> {
        self.found
            .iter()
            .find(|(known, ..)| *known == name)
            .map(|(_, key, value)| (*key, *value))
    }
}

/// Sorts the entries of a map under its `known` fields. `owner` begins the message about an
/// unknown one: "resource `web`".
pub fn read_fields<'t, 'src>(
    report: &mut Report,
    entries: &'t [(Node<'src>, Node<'src>)],
    known: &'static [&'static str],
    owner: &str,
    unknown: Unknown,
) -> Fields<'t, 'src> {
    let mut fields = Fields { found: Vec::new() };
    for (key, value) in entries {
        let Some(name) = key.as_str() else { continue };
        let Some(field) = known.iter().find(|k| k.eq_ignore_ascii_case(name)) else {
            report_unknown(report, name, key.span, known, owner, unknown);
            continue;
        };
        if *field != name {
            report
                .warn(
                    FIELD_CASE,
                    key.span,
                    format!("`{name}` is spelled `{field}`"),
                )
                .hints
                .push(format!("rename it to `{field}`"));
        }
        match fields.entry(field) {
            // The same spelling twice was reported by the parser.
            Some((first, _)) if first.as_str() != Some(name) => {
                let file = Arc::clone(&report.file);
                let first = first.span;
                let diagnostic = report.error(
                    DUPLICATE_KEY,
                    key.span,
                    format!("key `{field}` is set twice"),
                );
                *diagnostic = diagnostic
                    .clone()
                    .at(&file, first, "first set here")
                    .hint("remove one of them");
            }
            Some(_) => {}
            None => fields.found.push((field, key, value)),
        }
    }
    fields
}

fn report_unknown(
    report: &mut Report,
    name: &str,
    span: Span,
    known: &[&'static str],
    owner: &str,
    unknown: Unknown,
) {
    let near = did_you_mean(name, known.iter().copied());
    if near.is_none() && unknown == Unknown::WarnNear {
        return;
    }
    let diagnostic = report.warn(
        UNKNOWN_FIELD,
        span,
        format!("{owner} has no field `{name}`"),
    );
    diagnostic.hints.push(match near {
        Some(near) => format!("did you mean `{near}`"),
        None => format!("known fields are {}", known.join(", ")),
    });
}
