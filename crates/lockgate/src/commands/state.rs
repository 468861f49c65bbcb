//! `lockgate state …`: what is kept of each resource, and edits of it that no program asks for.

use std::collections::{BTreeMap, HashMap, HashSet};

use lockgate_engine::edit::{self, DeleteOptions, EditError, Mark};
use lockgate_engine::pattern;
use lockgate_model::urn::STACK_TYPE;
use lockgate_model::{ResourceState, Snapshot, Urn};
use lockgate_state::{Backend, HistoryEntry, Lease, RunKind, RunResult, StackName};
use serde_json::json;

use crate::cli::{Edit, State};
use crate::display::events;
use crate::failure::{CommandError, usage};
use crate::workspace::{App, state_error};

/// Most near misses that an error lists.
const LISTED_MAX: usize = 8;

/// Runs a state command.
pub(crate) fn run(app: &App, command: &State) -> Result<(), CommandError> {
    match command {
        State::List { pattern } => list(app, pattern.as_deref()),
        State::Show { urn, show_secrets } => show(app, urn, *show_secrets),
        State::Delete {
            edit,
            force,
            target_dependents,
        } => {
            let options = DeleteOptions {
                protected: *force,
                dependents: *target_dependents,
            };
            change(app, "delete", edit.dry_run, |snapshot| {
                let urns = select(snapshot, edit)?;
                edit::delete(snapshot, &urns, options).map_err(|e| refused(&e))
            })
        }
        State::Rename { urn, name, dry_run } => change(app, "rename", *dry_run, |snapshot| {
            let old = find(snapshot, urn)?;
            if old.type_token() == STACK_TYPE {
                return Err(usage(
                    "the root of a stack has the stack's name",
                    "run `lockgate stack rename`",
                ));
            }
            let Some(new) = edit::with_name(&old, name).filter(|_| !name.is_empty()) else {
                return Err(usage("the new name is empty", "give a name"));
            };
            if new == old {
                return Ok(Vec::new());
            }
            app.printer
                .say(&format!("`{old}` becomes `{}`", new.name()));
            edit::rename(snapshot, &HashMap::from([(old, new.clone())]))
                .map_err(|e| refused(&e))?;
            Ok(vec![new])
        }),
        State::Protect(edit) => mark(app, "protect", edit, Mark::Protect(true)),
        State::Unprotect(edit) => mark(app, "unprotect", edit, Mark::Protect(false)),
        State::Taint(edit) => mark(app, "taint", edit, Mark::Taint(true)),
        State::Untaint(edit) => mark(app, "untaint", edit, Mark::Taint(false)),
        State::Repair => super::stack::run(app, &crate::cli::Stack::Repair),
    }
}

fn mark(app: &App, verb: &'static str, edit: &Edit, mark: Mark) -> Result<(), CommandError> {
    change(app, verb, edit.dry_run, |snapshot| {
        let mut urns = select(snapshot, edit)?;
        if edit.all && matches!(mark, Mark::Protect(true) | Mark::Taint(true)) {
            // The root, components and providers are the engine's to keep.
            let entries = snapshot.resources.iter();
            let managed = entries.filter(|state| state.custom && !state.is_provider());
            let managed: HashSet<&Urn> = managed.filter_map(|state| state.urn.as_ref()).collect();
            urns.retain(|urn| managed.contains(urn));
        }
        Ok(edit::mark(snapshot, &urns, mark))
    })
}

fn list(app: &App, pattern: Option<&str>) -> Result<(), CommandError> {
    let (_, backend, stack) = app.opened()?;
    let loaded = backend.load(&stack).map_err(|e| state_error(&e))?;
    let shown = |state: &&std::sync::Arc<ResourceState>| match (pattern, &state.urn) {
        (Some(pattern), Some(urn)) => urn.name() == pattern || pattern::matches(pattern, urn),
        _ => true,
    };
    let entries: Vec<_> = loaded.snapshot.resources.iter().filter(shown).collect();
    if app.printer.json() {
        let rows: Vec<_> = entries
            .iter()
            .map(|state| {
                let urn = state.urn.as_ref();
                json!({
                    "urn": state.urn_str(), "type": state.type_token(),
                    "name": urn.map(Urn::name), "id": state.id,
                    "parent": state.parent.as_ref().map(Urn::as_str), "marks": marks(state),
                })
            })
            .collect();
        return Ok(app.printer.json_document(&json!(rows))?);
    }
    for state in entries {
        let name = state.urn.as_ref().map_or("", Urn::name);
        let marks = marks(state).join(", ");
        let line = format!("{:<48} {name:<24} {} {marks}", state.type_token(), state.id);
        app.printer.line(line.trim_end())?;
    }
    Ok(())
}

/// What is special about an entry, in words.
fn marks(state: &ResourceState) -> Vec<&'static str> {
    [
        (state.protect, "protected"),
        (state.taint, "tainted"),
        (state.external, "external"),
        (state.delete, "waits for deletion"),
        (state.pending_replacement, "waits for its replacement"),
        (!state.init_errors.is_empty(), "not in order"),
    ]
    .into_iter()
    .filter_map(|(is_set, word)| is_set.then_some(word))
    .collect()
}

fn show(app: &App, text: &str, show_secrets: bool) -> Result<(), CommandError> {
    let (_, backend, stack) = app.opened()?;
    let loaded = backend.load(&stack).map_err(|e| state_error(&e))?;
    let urn = find(&loaded.snapshot, text)?;
    let values = |map: &lockgate_model::PropertyMap| match show_secrets {
        true => events::map(
            &map.iter()
                .map(|(name, value)| (name.clone(), value.without_secrets()))
                .collect(),
        ),
        false => events::map(map),
    };
    let entries = loaded.snapshot.resources.iter();
    for state in entries.filter(|state| state.urn.as_ref() == Some(&urn)) {
        let texts = |urns: &[Urn]| urns.iter().map(|u| u.to_string()).collect::<Vec<_>>();
        let document = json!({
            "urn": urn.as_str(), "type": urn.type_token(), "name": urn.name(), "id": state.id,
            "custom": state.custom, "parent": state.parent.as_ref().map(Urn::as_str),
            "provider": state.provider, "dependencies": texts(&state.dependencies),
            "inputs": values(&state.inputs), "outputs": values(&state.outputs),
            "marks": marks(state), "initErrors": state.init_errors,
            "created": state.created.map(|at| at.to_string()),
            "modified": state.modified.map(|at| at.to_string()),
            "sourcePosition": state.source_position,
        });
        app.printer.json_document(&document)?;
    }
    Ok(())
}

/// The resource that a URN or a name means.
pub(crate) fn find(snapshot: &Snapshot, text: &str) -> Result<Urn, CommandError> {
    let urns: Vec<&Urn> = snapshot
        .resources
        .iter()
        .filter_map(|r| r.urn.as_ref())
        .collect();
    let mut hits: Vec<&Urn> = urns
        .iter()
        .copied()
        .filter(|u| u.as_str() == text)
        .collect();
    if hits.is_empty() {
        hits = urns.iter().copied().filter(|u| u.name() == text).collect();
    }
    hits.dedup();
    match hits.as_slice() {
        [urn] => Ok((*urn).clone()),
        [] => {
            let near = lockgate_diag::did_you_mean(text, urns.iter().map(|u| u.name()));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`"),
                None => "run `lockgate state list` to see all".to_owned(),
            };
            Err(usage(format!("the state has no resource `{text}`"), hint))
        }
        several => {
            let names: Vec<&str> = several
                .iter()
                .take(LISTED_MAX)
                .map(|u| u.as_str())
                .collect();
            Err(usage(
                format!("{} resources are named `{text}`", several.len()),
                format!("give one of these URNs: {}", names.join(", ")),
            ))
        }
    }
}

/// The resources that an edit is about; each word must mean at least one.
fn select(snapshot: &Snapshot, edit: &Edit) -> Result<HashSet<Urn>, CommandError> {
    let urns = || snapshot.resources.iter().filter_map(|r| r.urn.as_ref());
    if edit.all {
        return Ok(urns().cloned().collect());
    }
    let mut chosen = HashSet::new();
    for word in &edit.urns {
        let hits = urns().filter(|urn| pattern::matches(word, urn));
        let before = chosen.len();
        chosen.extend(hits.cloned());
        if !word.contains('*') || chosen.len() == before {
            chosen.insert(find(snapshot, word)?);
        }
    }
    Ok(chosen)
}

fn refused(error: &EditError) -> CommandError {
    let hint = match error {
        EditError::Protected { .. } => "add `--force`, or run `lockgate state unprotect` first",
        EditError::Needed { .. } => "add `--target-dependents` to take both",
        EditError::Taken { .. } => "use another name",
    };
    usage(error.to_string(), hint)
}

/// Edits a state under the lease: shows what changes, asks, writes, and notes it in the history.
/// The state before is kept as the backup.
fn change(
    app: &App,
    verb: &'static str,
    dry_run: bool,
    edit: impl FnOnce(&mut Snapshot) -> Result<Vec<Urn>, CommandError>,
) -> Result<(), CommandError> {
    let (_, backend, stack) = app.opened()?;
    if dry_run {
        let loaded = backend.load(&stack).map_err(|e| state_error(&e))?;
        let mut snapshot = (*loaded.snapshot).clone();
        let changed = edit(&mut snapshot)?;
        return tell(app, verb, &changed, true);
    }
    super::run::need_an_answer(app)?;
    let lease = backend
        .acquire(&stack, &format!("lockgate state {verb}"))
        .map_err(|e| state_error(&e))?;
    let result = change_held(app, &backend, &lease, verb, edit);
    let released = lease.release().map_err(|e| state_error(&e));
    result.and(released)
}

fn change_held(
    app: &App,
    backend: &Backend,
    lease: &Lease,
    verb: &'static str,
    edit: impl FnOnce(&mut Snapshot) -> Result<Vec<Urn>, CommandError>,
) -> Result<(), CommandError> {
    let loaded = backend.load(lease.stack()).map_err(|e| state_error(&e))?;
    let mut snapshot = (*loaded.snapshot).clone();
    let changed = edit(&mut snapshot)?;
    if changed.is_empty() {
        return tell(app, verb, &changed, false);
    }
    if !app.global.yes {
        tell(app, verb, &changed, true)?;
        if !super::run::ask(app, "Write this to the state?")? {
            app.printer.say("nothing was changed");
            return Ok(());
        }
    }
    let start = app.clock.now();
    backend
        .write_snapshot(lease, &snapshot)
        .map_err(|e| state_error(&e))?;
    note(
        app,
        backend,
        lease.stack(),
        lease,
        start,
        &message(verb, &changed),
    )?;
    tell(app, verb, &changed, false)
}

/// Notes an edit in the history of a stack.
pub(crate) fn note(
    app: &App,
    backend: &Backend,
    stack: &StackName,
    lease: &Lease,
    start: lockgate_model::Timestamp,
    message: &str,
) -> Result<(), CommandError> {
    let entry = HistoryEntry {
        version: backend
            .next_history_version(stack)
            .map_err(|e| state_error(&e))?,
        kind: RunKind::State,
        start,
        end: Some(app.clock.now()),
        message: message.to_owned(),
        environment: BTreeMap::new(),
        config: BTreeMap::new(),
        result: RunResult::Succeeded,
        resource_changes: BTreeMap::new(),
        images: BTreeMap::new(),
    };
    backend
        .save_history(lease, &entry)
        .map_err(|e| state_error(&e))
}

fn message(verb: &str, changed: &[Urn]) -> String {
    let names: Vec<&str> = changed.iter().take(LISTED_MAX).map(Urn::name).collect();
    let more = match changed.len().saturating_sub(LISTED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{verb} {}{more}", names.join(", "))
}

fn tell(app: &App, verb: &str, changed: &[Urn], dry_run: bool) -> Result<(), CommandError> {
    if app.printer.json() {
        let urns: Vec<&str> = changed.iter().map(Urn::as_str).collect();
        let document = json!({ "edit": verb, "changed": urns, "dryRun": dry_run });
        return Ok(app.printer.json_document(&document)?);
    }
    if changed.is_empty() {
        app.printer.say("nothing to change");
        return Ok(());
    }
    for urn in changed {
        app.printer.line(&format!("{verb} {urn}"))?;
    }
    if dry_run {
        app.printer.say("nothing was changed yet");
    }
    Ok(())
}
