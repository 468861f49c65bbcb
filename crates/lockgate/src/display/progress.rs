//! Events as they come: a live tree on a terminal, plain lines elsewhere.
//!
//! Each event is drawn under one short lock; a timer redraws the live part in between.
//! On a terminal that does not keep up, the writes wait, and with them the run: nothing is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockgate_diag::{Diagnostic, Severity};
use lockgate_engine::EventSink;
use lockgate_engine::event::{EngineEvent, StepEvent};
use lockgate_model::{Clock, StepOp, Urn};
use parking_lot::Mutex;

use super::{events, plan, words};
use crate::printer::Printer;

/// Time between two drawings of the live tree: fast enough to look alive, slow enough to be free.
pub(crate) const REDRAW: Duration = Duration::from_millis(100);

/// Most lines of the live part; more would scroll off a small terminal.
const LIVE_LINES_MAX: usize = 12;

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A plan: each step with its differences, nothing about time.
    Plan,
    /// Work: what starts and ends, with time.
    Work,
    /// One JSON object a line on standard output.
    Json,
}

/// Takes engine events and shows them.
pub(crate) struct Display {
    printer: Printer,
    style: Style,
    verbose: bool,
    clock: Arc<dyn Clock>,
    // One lock for drawing state: events of parallel steps must not interleave half-drawn.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<Urn, Running>,
    /// What the hidden part of a replacement took: the line of the whole shows it.
    replacing: BTreeMap<Urn, Duration>,
    last_draw: Option<Duration>,
    sequence: u64,
    diagnostics: Vec<Diagnostic>,
    made: Vec<Urn>,
}

struct Running {
    text: String,
    since: Duration,
    note: String,
}

impl Display {
    pub(crate) fn new(
        printer: Printer,
        style: Style,
        verbose: bool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            printer,
            style,
            verbose,
            clock,
            state: Mutex::default(),
        }
    }

    /// The resources that were created, in order of their end.
    pub(crate) fn take_made(&self) -> Vec<Urn> {
        std::mem::take(&mut self.state.lock().made)
    }

    /// The diagnostics of failed steps and of the program.
    pub(crate) fn take_diagnostics(&self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.state.lock().diagnostics)
    }

    fn live(&self) -> bool {
        self.style == Style::Work && self.printer.terminal()
    }

    /// Draws the live part anew; called by a timer too, so that times go on.
    pub(crate) fn tick(&self) {
        self.draw(&mut self.state.lock());
    }

    fn draw(&self, state: &mut State) {
        if !self.live() {
            return;
        }
        let now = self.clock.monotonic();
        if state.last_draw.is_some_and(|last| now < last + REDRAW) {
            return;
        }
        state.last_draw = Some(now);
        let hidden = state.running.len().saturating_sub(LIVE_LINES_MAX);
        let width = self.printer.width().saturating_sub(1);
        let mut text = String::new();
        for running in state.running.values().take(LIVE_LINES_MAX) {
            let time = words::duration(now.saturating_sub(running.since));
            let line = format!("  {} ({time}) {}", running.text, running.note);
            text.extend(line.chars().filter(|c| !c.is_control()).take(width));
            text.push('\n');
        }
        if hidden > 0 {
            text.push_str(&format!("  … and {hidden} more\n"));
        }
        self.printer.live(&text);
    }

    fn say(&self, state: &mut State, text: &str) {
        self.printer.talk(text);
        // The live part is gone with it: draw it again at once.
        state.last_draw = None;
    }

    fn step_start(&self, state: &mut State, step: &StepEvent) {
        if self.style == Style::Plan {
            return;
        }
        let text = format!("{} {}", words::present(step.op), plan::label(&step.urn));
        let since = self.clock.monotonic();
        state.running.insert(
            step.urn.clone(),
            Running {
                text,
                since,
                note: String::new(),
            },
        );
    }

    fn step_done(&self, state: &mut State, step: &StepEvent) {
        let since = state.running.remove(&step.urn).map(|r| r.since);
        let since = since.map(|since| self.clock.monotonic().saturating_sub(since));
        let mut time = step.duration.or(since);
        match step.op {
            StepOp::CreateReplacement => {
                if let Some(time) = time {
                    state.replacing.insert(step.urn.clone(), time);
                }
            }
            StepOp::Replace => time = state.replacing.remove(&step.urn).or(time),
            _ => {}
        }
        if plan::is_shown(step, self.verbose) {
            if self.style == Style::Plan {
                self.say(state, &plan::step(step, self.verbose));
            } else {
                let head = format!(
                    "{} {}{}",
                    words::sign(step.op),
                    plan::indent(&step.urn),
                    plan::label(&step.urn)
                );
                let time = time.map(|d| format!(" ({})", words::duration(d)));
                let line = format!(
                    "{}  {}{}\n",
                    words::paint(step.op, &head),
                    words::past(step.op),
                    time.unwrap_or_default()
                );
                self.say(state, &line);
            }
        }
        note_made(state, step);
    }

    fn message(
        &self,
        state: &mut State,
        severity: Severity,
        urn: Option<&Urn>,
        text: &str,
        ephemeral: bool,
    ) {
        if self.live()
            && severity == Severity::Info
            && let Some(running) = urn.and_then(|urn| state.running.get_mut(urn))
        {
            running.note = text.lines().last().unwrap_or_default().to_owned();
            if ephemeral {
                return;
            }
        }
        if ephemeral {
            return;
        }
        let from = urn
            .map(|urn| format!("{}: ", urn.name()))
            .unwrap_or_default();
        let mark = match severity {
            Severity::Info => "",
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        };
        // The mark stands for the whole text, so the lines below it are only indented.
        let lines: String = text
            .lines()
            .enumerate()
            .map(|(index, line)| {
                let mark = if index == 0 { mark } else { "" };
                format!("   {from}{mark}{line}\n")
            })
            .collect();
        self.say(state, &lines);
    }
}

fn note_made(state: &mut State, step: &StepEvent) {
    if matches!(step.op, StepOp::Create | StepOp::CreateReplacement) {
        state.made.push(step.urn.clone());
    }
}

impl EventSink for Display {
    fn emit(&self, event: EngineEvent) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if self.style == Style::Json {
            let value = events::to_json(&event, state.sequence, self.clock.now());
            state.sequence += 1;
            // A closed pipe ends the output, not the run: state must still be written.
            let _ = self.printer.line(&value.to_string());
        }
        let shown = self.style != Style::Json;
        match event {
            EngineEvent::StepStart(step) if shown => self.step_start(state, &step),
            EngineEvent::StepDone(step) if shown => self.step_done(state, &step),
            EngineEvent::StepDone(step) => note_made(state, &step),
            EngineEvent::StepFailed { step, diagnostic } => {
                state.running.remove(&step.urn);
                if shown {
                    let line = format!(
                        "!  {}{}  failed\n",
                        plan::indent(&step.urn),
                        plan::label(&step.urn)
                    );
                    self.say(state, &line);
                }
                state.diagnostics.push(*diagnostic);
            }
            EngineEvent::Message {
                severity,
                urn,
                text,
                ephemeral,
            } if shown => {
                self.message(state, severity, urn.as_ref(), &text, ephemeral);
            }
            EngineEvent::Diagnostic(diagnostic) => state.diagnostics.push(*diagnostic),
            EngineEvent::Summary(_) => {
                state.running.clear();
                state.replacing.clear();
                self.printer.live("");
            }
            _ => {}
        }
        self.draw(state);
    }
}
