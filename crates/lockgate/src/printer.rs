//! The one door for output. Standard output is data, standard error is talk.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use lockgate_diag::{Diagnostic, Renderer};

use crate::cli::Color;

/// Prints; knows whether colour, JSON and a terminal are there.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    color_out: bool,
    color_err: bool,
    json: bool,
    terminal: bool,
    width: usize,
}

impl Printer {
    /// `no_color` is the NO_COLOR variable (<https://no-color.org>).
    pub(crate) fn new(color: Color, no_color: bool, json: bool) -> Self {
        let choose = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !no_color,
        };
        let terminal = io::stderr().is_terminal();
        Self {
            color_out: choose(io::stdout().is_terminal()),
            color_err: choose(terminal),
            json,
            terminal,
            width: terminal_width(),
        }
    }

    /// Whether data is printed as JSON.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// Whether talk goes to a terminal, so that live progress makes sense.
    pub(crate) const fn terminal(&self) -> bool {
        self.terminal
    }

    /// Columns.
    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    /// Writes data as it is.
    pub(crate) fn data(&self, text: &str) -> io::Result<()> {
        let choice = if self.color_out {
            ColorChoice::Always
        } else {
            ColorChoice::Never
        };
        let mut out = AutoStream::new(io::stdout().lock(), choice);
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Writes a line of data.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        self.data(&format!("{text}\n"))
    }

    /// Writes a JSON document as data.
    pub(crate) fn json_document(&self, value: &serde_json::Value) -> io::Result<()> {
        self.data(&format!("{value:#}\n"))
    }

    /// Says something. Talk that cannot be written is not worth failing for.
    pub(crate) fn talk(&self, text: &str) {
        let choice = if self.color_err {
            ColorChoice::Always
        } else {
            ColorChoice::Never
        };
        let mut err = AutoStream::new(io::stderr().lock(), choice);
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// Says a line.
    pub(crate) fn say(&self, text: &str) {
        self.talk(&format!("{text}\n"));
    }

    /// Draws diagnostics; with `--json` as one JSON object a line on standard error.
    pub(crate) fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        if self.json {
            for diagnostic in diagnostics {
                self.say(&lockgate_diag::to_json(diagnostic).to_string());
            }
            return;
        }
        let renderer = Renderer {
            color: self.color_err,
            unicode: self.terminal,
            width: self.width,
        };
        self.talk(&renderer.render_all(diagnostics));
    }
}

/// Columns of the terminal behind standard error; 100 where there is none.
fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns >= 20)
        .unwrap_or(100)
}
