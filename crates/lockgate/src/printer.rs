//! The one door for output. Standard output is data, standard error is talk.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use lockgate_diag::{Diagnostic, Renderer};
use parking_lot::Mutex;

use crate::cli::Color;

/// Prints; knows whether colour, JSON and a terminal are there.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    color_out: bool,
    color_err: bool,
    json: bool,
    terminal: bool,
    width: usize,
    // Lines of the live part at the bottom of the terminal. Shared by all clones, so that whoever
    // says something takes the live part away first and nobody writes into it.
    live: Arc<Mutex<usize>>,
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
            live: Arc::default(),
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
        self.live("");
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

    /// Says something.
    pub(crate) fn talk(&self, text: &str) {
        let mut live = self.live.lock();
        self.write(&format!("{}{text}", erase(&mut live)));
    }

    /// Replaces the live part at the bottom of the terminal; empty takes it away.
    pub(crate) fn live(&self, text: &str) {
        let mut live = self.live.lock();
        let erased = erase(&mut live);
        if erased.is_empty() && text.is_empty() {
            return;
        }
        self.write(&format!("{erased}{text}"));
        *live = text.lines().count();
    }

    /// Talk that cannot be written is not worth failing for.
    fn write(&self, text: &str) {
        let choice = if self.color_err {
            ColorChoice::Always
        } else {
            ColorChoice::Never
        };
        // Moving the cursor is not colour: it must pass also where colour does not.
        if self.terminal {
            let mut err = io::stderr().lock();
            let text = if self.color_err {
                text.to_owned()
            } else {
                without_color(text)
            };
            let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
            return;
        }
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

/// The sequence that takes the live part away.
fn erase(live: &mut usize) -> String {
    match std::mem::take(live) {
        0 => String::new(),
        lines => format!("\u{1b}[{lines}A\u{1b}[J"),
    }
}

/// Leaves out the sequences that set colours and weights, and only those.
fn without_color(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split("\u{1b}[");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_digit() && c != ';')
            .unwrap_or(part.len());
        match part[end..].strip_prefix('m') {
            Some(rest) => out.push_str(rest),
            None => {
                out.push_str("\u{1b}[");
                out.push_str(part);
            }
        }
    }
    out
}

/// Columns of the terminal behind standard error; 100 where there is none.
fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns >= 20)
        .unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_and_cursor_moves_are_not() {
        let text = "\u{1b}[2A\u{1b}[J\u{1b}[1;32mgood\u{1b}[0m ü";
        assert_eq!(without_color(text), "\u{1b}[2A\u{1b}[Jgood ü");
    }
}
