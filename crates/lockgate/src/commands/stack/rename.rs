//! `lockgate stack rename`: the state, its URNs and history, the config file, the selection.

use lockgate_config::Project;
use lockgate_state::{Backend, StackName};

use crate::commands::{run, state};
use crate::failure::{CommandError, usage};
use crate::workspace::{App, state_error};

pub(super) fn run(
    app: &App,
    project: &Project,
    backend: &Backend,
    name: &str,
) -> Result<(), CommandError> {
    let old = app.existing_stack(project, backend)?;
    let new = StackName::new(&project.name, name).map_err(|e| state_error(&e))?;
    if backend.exists(&new) {
        return Err(usage(
            format!("stack `{new}` exists already"),
            "use another name",
        ));
    }
    let (old_file, new_file) = (app.stack_file(project, &old), app.stack_file(project, &new));
    if old_file.exists() && new_file.exists() {
        return Err(usage(
            format!("`{}` exists already", new_file.display()),
            "move it away; it would be replaced by the config of the renamed stack",
        ));
    }
    run::need_an_answer(app)?;
    let question = format!("Rename stack `{}` to `{name}`?", old.stack());
    if !app.global.yes && !run::ask(app, &question)? {
        app.printer.say("nothing was changed");
        return Ok(());
    }
    let lease = backend
        .acquire(&old, "lockgate stack rename")
        .map_err(|e| state_error(&e))?;
    if let Err(error) = check_ids(backend, &old) {
        lease.release().map_err(|e| state_error(&e))?;
        return Err(error);
    }
    // The config first: without its salt the secrets of the renamed stack could not be read.
    if old_file.exists() {
        fs_err::copy(&old_file, &new_file)?;
    }
    let start = app.clock.now();
    backend
        .rename_stack(lease, &new)
        .map_err(|e| state_error(&e))?;
    if old_file.exists() {
        fs_err::remove_file(&old_file)?;
    }
    if app.selected(project).as_deref() == Some(old.stack()) {
        app.select(project, Some(new.stack()))?;
    }
    let lease = backend
        .acquire(&new, "lockgate stack rename")
        .map_err(|e| state_error(&e))?;
    let message = format!("rename {} to {}", old.stack(), new.stack());
    let noted = state::note(app, backend, &new, &lease, start, &message);
    lease.release().map_err(|e| state_error(&e))?;
    noted?;
    let text = format!("renamed stack `{}` to `{}`", old.stack(), new.stack());
    app.printer.say(&text);
    Ok(())
}

/// What runs on a node is known there by the name of its stack and would not be found again.
fn check_ids(backend: &Backend, stack: &StackName) -> Result<(), CommandError> {
    let loaded = backend.load(stack).map_err(|e| state_error(&e))?;
    let prefix = format!("{}/{}/", stack.project(), stack.stack());
    let mut entries = loaded.snapshot.resources.iter();
    match entries.find(|state| state.id.starts_with(&prefix)) {
        None => Ok(()),
        Some(state) => Err(usage(
            format!(
                "`{}` is known to the node as `{}`, which holds the stack's name",
                state.urn_str(),
                state.id
            ),
            "run `lockgate destroy`, rename the stack, then run `lockgate up`",
        )),
    }
}
