//! Words, signs and colours of operations. A sign always stands beside the colour, so nothing
//! is said by colour alone.

use std::time::Duration;

use lockgate_model::StepOp;
use owo_colors::{OwoColorize as _, Style};

/// The sign of an operation, two columns wide.
pub(crate) const fn sign(op: StepOp) -> &'static str {
    match op {
        StepOp::Same => "  ",
        StepOp::Create | StepOp::Import => "+ ",
        StepOp::Update => "~ ",
        StepOp::Delete | StepOp::Discard => "- ",
        StepOp::Replace => "+-",
        StepOp::CreateReplacement | StepOp::ImportReplacement => "++",
        StepOp::DeleteReplaced | StepOp::DiscardReplaced | StepOp::RemovePendingReplace => "--",
        StepOp::Read | StepOp::ReadReplacement => "> ",
        StepOp::Refresh => "~ ",
    }
}

/// The colour of an operation.
pub(crate) const fn style(op: StepOp) -> Style {
    match op {
        StepOp::Same => Style::new().dimmed(),
        StepOp::Create | StepOp::Import | StepOp::CreateReplacement | StepOp::ImportReplacement => {
            Style::new().green()
        }
        StepOp::Update | StepOp::Refresh => Style::new().yellow(),
        StepOp::Replace => Style::new().magenta(),
        StepOp::Read | StepOp::ReadReplacement => Style::new().cyan(),
        _ => Style::new().red(),
    }
}

/// What it does while it runs: `creating`.
pub(crate) const fn present(op: StepOp) -> &'static str {
    match op {
        StepOp::Same => "checking",
        StepOp::Create => "creating",
        StepOp::Update => "updating",
        StepOp::Delete => "deleting",
        StepOp::Replace => "replacing",
        StepOp::CreateReplacement => "creating replacement",
        StepOp::DeleteReplaced => "deleting replaced",
        StepOp::Read | StepOp::ReadReplacement => "reading",
        StepOp::Refresh => "refreshing",
        StepOp::Discard | StepOp::DiscardReplaced | StepOp::RemovePendingReplace => "forgetting",
        StepOp::Import | StepOp::ImportReplacement => "importing",
    }
}

/// What it did: `created`.
pub(crate) const fn past(op: StepOp) -> &'static str {
    match op {
        StepOp::Same => "unchanged",
        StepOp::Create => "created",
        StepOp::Update => "updated",
        StepOp::Delete => "deleted",
        StepOp::Replace => "replaced",
        StepOp::CreateReplacement => "created replacement",
        StepOp::DeleteReplaced => "deleted replaced",
        StepOp::Read | StepOp::ReadReplacement => "read",
        StepOp::Refresh => "refreshed",
        StepOp::Discard | StepOp::DiscardReplaced | StepOp::RemovePendingReplace => "forgot",
        StepOp::Import | StepOp::ImportReplacement => "imported",
    }
}

/// What it would do: `create`.
pub(crate) const fn infinitive(op: StepOp) -> &'static str {
    match op {
        StepOp::Same => "unchanged",
        other => other.as_str(),
    }
}

/// A time as people say it: `85 ms`, `1.2 s`, `3 m 05 s`.
pub(crate) fn duration(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1000 {
        format!("{millis} ms")
    } else if millis < 60_000 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} m {:02} s", millis / 60_000, millis % 60_000 / 1000)
    }
}

/// `text` in the style of `op`.
pub(crate) fn paint(op: StepOp, text: &str) -> String {
    text.style(style(op)).to_string()
}
