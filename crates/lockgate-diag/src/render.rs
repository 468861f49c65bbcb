//! Diagnostics as terminal text and as JSON.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer as Snippets, Snippet};
use serde_json::{Value, json};

use crate::{Diagnostic, Label, Severity, SourceFile, Span};

/// Most places drawn for one diagnostic; more would not fit on a screen.
const LABELS_MAX: usize = 8;

/// Draws diagnostics for a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Renderer {
    /// ANSI colours.
    pub color: bool,
    /// Box-drawing characters instead of ASCII.
    pub unicode: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for Renderer {
    fn default() -> Self {
        Self {
            color: false,
            unicode: false,
            width: 100,
        }
    }
}

impl Renderer {
    /// One diagnostic as text, ending in a line feed.
    pub fn render(&self, diagnostic: &Diagnostic) -> String {
        let base = if self.color {
            Snippets::styled()
        } else {
            Snippets::plain()
        };
        let decor = if self.unicode {
            DecorStyle::Unicode
        } else {
            DecorStyle::Ascii
        };
        let renderer = base.decor_style(decor).term_width(self.width.max(40));
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::INFO,
        };
        let message = clean(&diagnostic.message);
        let mut group = level
            .primary_title(message.as_str())
            .id(diagnostic.code.as_str())
            .elements(std::iter::empty::<
                Snippet<'_, annotate_snippets::Annotation<'_>>,
            >());
        let windows: Vec<Window<'_>> = diagnostic
            .labels
            .iter()
            .take(LABELS_MAX)
            .map(Window::of)
            .collect();
        for (index, window) in windows.iter().enumerate() {
            let kind = if index == 0 {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let mut annotation = kind.span(window.start..window.end);
            if !window.text.is_empty() {
                annotation = annotation.label(window.text.as_str());
            }
            group = group.element(
                Snippet::source(window.source)
                    .line_start(window.line)
                    .path(window.path)
                    .fold(true)
                    .annotation(annotation),
            );
        }
        let causes: Vec<String> = diagnostic.causes.iter().map(|c| clean(c)).collect();
        for cause in &causes {
            group = group.element(Level::NOTE.with_name("cause").message(cause.as_str()));
        }
        let hints: Vec<String> = diagnostic.hints.iter().map(|h| clean(h)).collect();
        for hint in &hints {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        let mut text = renderer.render(&[group]);
        text.push('\n');
        text
    }

    /// All diagnostics, a blank line between.
    pub fn render_all(&self, diagnostics: &[Diagnostic]) -> String {
        let parts: Vec<String> = diagnostics.iter().map(|d| self.render(d)).collect();
        parts.join("\n")
    }
}

/// The lines around a label: the renderer is quadratic in its input, so it never sees the file.
struct Window<'a> {
    source: &'a str,
    path: &'a str,
    line: usize,
    start: usize,
    end: usize,
    text: String,
}

impl<'a> Window<'a> {
    fn of(label: &'a Label) -> Self {
        let file: &SourceFile = &label.file;
        let (start, end) = snap(&file.text, label.span);
        let first = file.text[..start].rfind('\n').map_or(0, |i| i + 1);
        let last = file.text[start..]
            .find('\n')
            .map_or(file.text.len(), |i| start + i);
        let end = end.min(last).max(start);
        Self {
            source: file.text[first..last].trim_end_matches('\r'),
            path: &file.path,
            line: file.text[..first].bytes().filter(|b| *b == b'\n').count() + 1,
            start: start - first,
            end: end - first,
            text: clean(&label.text),
        }
        .clipped()
    }

    fn clipped(mut self) -> Self {
        self.start = self.start.min(self.source.len());
        self.end = self.end.min(self.source.len());
        self
    }
}

/// Moves a span onto character borders inside the text.
fn snap(text: &str, span: Span) -> (usize, usize) {
    let mut start = (span.start as usize).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = (span.end as usize).clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    (start, end)
}

/// Neutralises control characters, which the drawing library passes through in labels.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// A diagnostic as a JSON object: `code`, `severity`, `message`, `labels` (each with `file`,
/// `line`, `column`, `start`, `end`, `text`), `causes`, `hints`.
pub fn to_json(diagnostic: &Diagnostic) -> Value {
    let labels: Vec<Value> = diagnostic
        .labels
        .iter()
        .map(|label| {
            let (line, column) = label.file.line_column(label.span.start);
            json!({
                "file": label.file.path, "line": line, "column": column,
                "start": label.span.start, "end": label.span.end, "text": label.text,
            })
        })
        .collect();
    json!({
        "code": diagnostic.code.as_str(),
        "severity": diagnostic.severity.as_str(),
        "message": diagnostic.message,
        "labels": labels,
        "causes": diagnostic.causes,
        "hints": diagnostic.hints,
    })
}

#[cfg(test)]
mod tests;
