//! `lockgate stack graph`: the resources of a stack in the DOT language.

use std::fmt::Write as _;
use std::path::Path;

use lockgate_config::Project;
use lockgate_model::{Snapshot, Urn};
use lockgate_state::Backend;

use crate::failure::CommandError;
use crate::workspace::{App, state_error};

pub(super) fn run(
    app: &App,
    project: &Project,
    backend: &Backend,
    file: Option<&Path>,
    no_parents: bool,
) -> Result<(), CommandError> {
    let stack = app.existing_stack(project, backend)?;
    let loaded = backend.load(&stack).map_err(|e| state_error(&e))?;
    let text = dot(&loaded.snapshot, &stack.to_string(), no_parents);
    match file {
        Some(file) => Ok(lockgate_config::write_atomic(
            &app.folder.join(file),
            text.as_bytes(),
        )?),
        None => Ok(app.printer.data(&text)?),
    }
}

/// An arrow leads from what needs to what is needed; dashed ones from child to parent.
fn dot(snapshot: &Snapshot, title: &str, no_parents: bool) -> String {
    let mut text = format!(
        "digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n",
        quoted(title)
    );
    let entries = || {
        let live = snapshot.resources.iter().filter(|state| !state.delete);
        live.filter_map(|state| Some((state.urn.as_ref()?, &**state)))
    };
    let is_shown = |urn: &Urn| !urn.type_token().starts_with("pulumi:providers:");
    for (urn, state) in entries().filter(|(urn, _)| is_shown(urn)) {
        let label = format!("{}\n{}", urn.name(), urn.type_token());
        let style = if state.custom { "" } else { ", style=rounded" };
        let _ = writeln!(
            text,
            "  {} [label={}{style}];",
            quoted(urn.as_str()),
            quoted(&label)
        );
    }
    for (urn, state) in entries().filter(|(urn, _)| is_shown(urn)) {
        for needed in state.dependencies.iter().filter(|needed| is_shown(needed)) {
            let _ = writeln!(
                text,
                "  {} -> {};",
                quoted(urn.as_str()),
                quoted(needed.as_str())
            );
        }
        if let (Some(parent), false) = (&state.parent, no_parents) {
            let _ = writeln!(
                text,
                "  {} -> {} [style=dashed, arrowhead=none];",
                quoted(urn.as_str()),
                quoted(parent.as_str())
            );
        }
    }
    text + "}\n"
}

/// A text as the language quotes it.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}
