//! The plan, as shown before the question and kept in goldens: one line a resource, its
//! differences below it, a count at the end.

use std::fmt::Write as _;

use lockgate_engine::event::{StepEvent, Summary};
use lockgate_model::urn::STACK_TYPE;
use lockgate_model::{StepOp, Urn};

use super::{diff, words};

/// Whether a step is worth a line of its own.
pub(crate) fn is_shown(step: &StepEvent, verbose: bool) -> bool {
    match step.op {
        StepOp::Same => verbose,
        // The logical step of a replacement says it all.
        StepOp::CreateReplacement | StepOp::DeleteReplaced => verbose,
        _ => true,
    }
}

/// The short name of a resource: its last type part and its name.
pub(crate) fn label(urn: &Urn) -> String {
    format!("{} {}", urn.type_token(), urn.name())
}

/// Two columns for each resource above it, so that the list reads as a tree: the stack, its
/// resources, the resources of its components.
pub(crate) fn indent(urn: &Urn) -> String {
    let above = match urn.type_token() {
        STACK_TYPE => 0,
        _ => 1 + urn.qualified_type().matches('$').count(),
    };
    "  ".repeat(above)
}

/// One step with its differences; ends in a line feed.
pub(crate) fn step(step: &StepEvent, verbose: bool) -> String {
    let head = format!(
        "{} {}{}",
        words::sign(step.op),
        indent(&step.urn),
        label(&step.urn)
    );
    let mut text = words::paint(step.op, &head);
    let _ = write!(text, "  {}", words::infinitive(step.op));
    if !step.replace_keys.is_empty() {
        let _ = write!(text, " (because of {})", step.replace_keys.join(", "));
    }
    text.push('\n');
    let listed = step.op != StepOp::Create || verbose;
    if listed {
        for line in diff::lines(step, verbose) {
            let _ = writeln!(text, "     {} {}: {}", line.sign, line.path, line.text);
        }
    }
    text
}

/// The counts of a run in one line, for example `3 to create, 1 to update, 5 unchanged`.
pub(crate) fn counts(summary: &Summary) -> String {
    let mut parts = Vec::new();
    let mut same = 0;
    for op in StepOp::ALL {
        let Some(number) = summary.changes.get(op.as_str()).copied().filter(|n| *n > 0) else {
            continue;
        };
        match op {
            StepOp::Same => same = number,
            StepOp::CreateReplacement | StepOp::DeleteReplaced => {}
            op if summary.preview => {
                parts.push(format!("{number} to {}", op.as_str()));
            }
            op => parts.push(format!("{number} {}", words::past(op))),
        }
    }
    if parts.is_empty() {
        parts.push("no changes".to_owned());
    }
    if same > 0 {
        parts.push(format!("{same} unchanged"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_indented_by_what_is_above() {
        let stack = Urn::new("dev", "shop", None, STACK_TYPE, "shop-dev");
        let component = Urn::new("dev", "shop", Some(&stack), "my:mod:Web", "web");
        let child = Urn::new("dev", "shop", Some(&component), "a:b:C", "c");
        let lengths = [&stack, &component, &child].map(|urn| indent(urn).len());
        assert_eq!(lengths, [0, 2, 4]);
    }
}
