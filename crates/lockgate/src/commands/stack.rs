//! `lockgate stack …`.

mod graph;
mod rename;

use std::io::Read as _;

use lockgate_config::Project;
use lockgate_model::urn::STACK_TYPE;
use lockgate_model::{PropertyMap, Timestamp, Value};
use lockgate_state::backend::ForeignUrns;
use lockgate_state::{Backend, ExportedSecrets, RemoveMode, RunResult, SecretsConfig, StackName};
use serde_json::{Map, Value as Json, json};

use crate::cli::Stack;
use crate::display::{events, words};
use crate::failure::{CommandError, usage};
use crate::workspace::{App, secrets_error, state_error};

/// Largest deployment file that is read.
const IMPORT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Runs a stack command.
pub(crate) fn run(app: &App, command: &Stack) -> Result<(), CommandError> {
    let project = app.project()?;
    let backend = app.backend(&project)?;
    match command {
        Stack::Init {
            name,
            secrets_provider,
        } => {
            let stack = StackName::new(&project.name, name).map_err(|e| state_error(&e))?;
            create(app, &project, &backend, &stack, secrets_provider.as_deref())?;
            app.select(&project, Some(stack.stack()))?;
            app.printer
                .say(&format!("made and selected stack `{}`", stack.stack()));
            Ok(())
        }
        Stack::Ls => list(app, &project, &backend),
        Stack::Select { name } => {
            let app_stack = with_stack(app, name);
            let stack = app_stack.existing_stack(&project, &backend)?;
            app.select(&project, Some(stack.stack()))?;
            app.printer
                .say(&format!("selected stack `{}`", stack.stack()));
            Ok(())
        }
        Stack::Rename { name } => rename::run(app, &project, &backend, name),
        Stack::Graph { file, no_parents } => {
            graph::run(app, &project, &backend, file.as_deref(), *no_parents)
        }
        Stack::Rm { name, force } => remove(app, &project, &backend, name, *force),
        Stack::Output { name, show_secrets } => {
            output(app, &project, &backend, name.as_deref(), *show_secrets)
        }
        Stack::History { limit } => history(app, &project, &backend, *limit),
        Stack::Export { file, show_secrets } => {
            let stack = app.existing_stack(&project, &backend)?;
            let shown = if *show_secrets {
                ExportedSecrets::Shown
            } else {
                ExportedSecrets::Encrypted
            };
            let mut bytes = Vec::new();
            backend
                .export(&stack, shown, &mut bytes)
                .map_err(|e| state_error(&e))?;
            match file {
                Some(file) => Ok(lockgate_config::write_atomic(
                    &app.folder.join(file),
                    &bytes,
                )?),
                None => Ok(app.printer.data(&String::from_utf8_lossy(&bytes))?),
            }
        }
        Stack::Repair => repair(app, &project, &backend),
        Stack::Import { file } => import(app, &project, &backend, file.as_deref()),
    }
}

/// The same app with `--stack name`.
fn with_stack(app: &App, name: &str) -> App {
    App {
        global: crate::cli::Global {
            stack: Some(name.to_owned()),
            ..app.global.clone()
        },
        ..app.clone()
    }
}

/// Makes a stack. `provider` is `passphrase` or `local`; without one, a passphrase in the
/// environment decides.
pub(crate) fn create(
    app: &App,
    project: &Project,
    backend: &Backend,
    stack: &StackName,
    provider: Option<&str>,
) -> Result<(), CommandError> {
    if backend.exists(stack) {
        return Err(usage(
            format!("stack `{stack}` exists already"),
            format!("run `lockgate stack select {}`", stack.stack()),
        ));
    }
    let passphrase = match provider {
        Some("passphrase") => true,
        Some("local") => false,
        None => app.environment.passphrase.is_some(),
        Some(other) => {
            return Err(usage(
                format!("there is no secrets provider `{other}`"),
                "use `passphrase` or `local`",
            ));
        }
    };
    let secrets = if passphrase {
        backend
            .keyring()
            .create_passphrase()
            .map_err(|e| secrets_error(&e))?
    } else {
        backend
            .keyring()
            .create_local()
            .map_err(|e| state_error(&e))?
    };
    backend
        .create_stack(stack, &secrets)
        .map_err(|e| state_error(&e))?;
    if let SecretsConfig::Passphrase { .. } = secrets.config()
        && let Some(salt) = secrets.config().to_stack_file().salt
    {
        let path = app.stack_file(project, stack);
        let mut config = app.stack_config(&path)?;
        config
            .set_encryption_salt(&salt)
            .map_err(|e| usage(e.to_string(), "edit the stack file by hand"))?;
        config.save(&path)?;
    }
    Ok(())
}

fn list(app: &App, project: &Project, backend: &Backend) -> Result<(), CommandError> {
    let stacks = backend
        .list_stacks(Some(&project.name))
        .map_err(|e| state_error(&e))?;
    let current = app.stack_name(project, backend).ok();
    let is_current = |name: &StackName| current.as_ref() == Some(name);
    if app.printer.json() {
        let rows: Vec<Json> = stacks
            .iter()
            .map(|stack| {
                json!({
                    "name": stack.name.stack(), "current": is_current(&stack.name),
                    "lastUpdate": stack.updated.map(|at| at.to_string()),
                    "updateInProgress": stack.holder.is_some(),
                })
            })
            .collect();
        return Ok(app.printer.json_document(&json!(rows))?);
    }
    for stack in stacks {
        let mark = if is_current(&stack.name) { "*" } else { " " };
        let busy = stack
            .holder
            .map(|h| format!("  in use by {h}"))
            .unwrap_or_default();
        let updated = super::run::moment(stack.updated);
        app.printer.line(&format!(
            "{mark} {:<24} {updated}{busy}",
            stack.name.stack()
        ))?;
    }
    Ok(())
}

fn remove(
    app: &App,
    project: &Project,
    backend: &Backend,
    name: &str,
    force: bool,
) -> Result<(), CommandError> {
    let stack = with_stack(app, name).existing_stack(project, backend)?;
    let lease = backend
        .acquire(&stack, "lockgate stack rm")
        .map_err(|e| state_error(&e))?;
    let mode = if force {
        RemoveMode::Force
    } else {
        RemoveMode::Empty
    };
    backend
        .remove_stack(lease, mode)
        .map_err(|e| state_error(&e))?;
    if app.selected(project).as_deref() == Some(stack.stack()) {
        app.select(project, None)?;
    }
    app.printer
        .say(&format!("removed stack `{}`", stack.stack()));
    Ok(())
}

fn output(
    app: &App,
    project: &Project,
    backend: &Backend,
    name: Option<&str>,
    show_secrets: bool,
) -> Result<(), CommandError> {
    let stack = app.existing_stack(project, backend)?;
    let loaded = backend.load(&stack).map_err(|e| state_error(&e))?;
    let root = loaded
        .snapshot
        .resources
        .iter()
        .find(|r| r.type_token() == STACK_TYPE);
    let mut outputs = root.map(|r| r.outputs.clone()).unwrap_or_default();
    if show_secrets {
        outputs = outputs
            .iter()
            .map(|(k, v)| (k.clone(), v.without_secrets()))
            .collect();
    }
    let Some(name) = name else {
        return print_outputs(app, &outputs);
    };
    let Some(value) = outputs.get(name) else {
        let near = lockgate_diag::did_you_mean(name, outputs.keys().map(String::as_str));
        let hint = near.map_or_else(
            || "run `lockgate stack output` to see all".to_owned(),
            |near| format!("did you mean `{near}`"),
        );
        return Err(usage(
            format!("stack `{}` has no output `{name}`", stack.stack()),
            hint,
        ));
    };
    if app.printer.json() {
        return Ok(app.printer.json_document(&events::value(value))?);
    }
    Ok(app.printer.line(&shown(value))?)
}

fn print_outputs(app: &App, outputs: &PropertyMap) -> Result<(), CommandError> {
    if app.printer.json() {
        return Ok(app.printer.json_document(&events::map(outputs))?);
    }
    for (name, value) in outputs {
        app.printer.line(&format!("{name}: {}", shown(value)))?;
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => match events::value(other) {
            Json::String(text) => text,
            json => json.to_string(),
        },
    }
}

fn history(
    app: &App,
    project: &Project,
    backend: &Backend,
    limit: usize,
) -> Result<(), CommandError> {
    let stack = app.existing_stack(project, backend)?;
    let page = backend
        .history(&stack, None, limit)
        .map_err(|e| state_error(&e))?;
    let result = |result: RunResult| match result {
        RunResult::InProgress => "in-progress",
        RunResult::Succeeded => "succeeded",
        RunResult::Failed => "failed",
    };
    if app.printer.json() {
        let rows: Vec<Json> = page
            .entries
            .iter()
            .map(|entry| {
                let changes: Map<String, Json> = entry
                    .resource_changes
                    .iter()
                    .map(|(op, n)| (op.as_str().to_owned(), json!(n)))
                    .collect();
                let images: Map<String, Json> = entry
                    .images
                    .iter()
                    .map(|(name, digest)| (name.clone(), json!(digest.to_string())))
                    .collect();
                json!({
                    "version": entry.version, "kind": format!("{:?}", entry.kind).to_lowercase(),
                    "startTime": entry.start.to_string(),
                    "endTime": entry.end.map(|at| at.to_string()),
                    "message": entry.message, "result": result(entry.result),
                    "resourceChanges": changes, "images": images,
                })
            })
            .collect();
        return Ok(app.printer.json_document(&json!(rows))?);
    }
    for entry in &page.entries {
        let parts: Vec<String> = entry
            .resource_changes
            .iter()
            .map(|(op, n)| format!("{n} {}", words::past(*op)))
            .collect();
        let kind = format!("{:?}", entry.kind).to_lowercase();
        let start = Timestamp::from_secs(entry.start.as_secs());
        app.printer.line(&format!(
            "{:>4}  {start}  {kind:<8} {:<11} {}  {}",
            entry.version,
            result(entry.result),
            parts.join(", "),
            entry.message
        ))?;
    }
    Ok(())
}

fn import(
    app: &App,
    project: &Project,
    backend: &Backend,
    file: Option<&std::path::Path>,
) -> Result<(), CommandError> {
    let stack = app.existing_stack(project, backend)?;
    let mut text = String::new();
    match file {
        Some(file) => {
            fs_err::File::open(app.folder.join(file))?
                .take(IMPORT_BYTES_MAX)
                .read_to_string(&mut text)?;
        }
        None => {
            std::io::stdin()
                .lock()
                .take(IMPORT_BYTES_MAX)
                .read_to_string(&mut text)?;
        }
    }
    let lease = backend
        .acquire(&stack, "lockgate stack import")
        .map_err(|e| state_error(&e))?;
    backend
        .import(&lease, &text, ForeignUrns::Refuse)
        .map_err(|e| state_error(&e))?;
    lease.release().map_err(|e| state_error(&e))?;
    app.printer.say(&format!("imported the state of `{stack}`"));
    Ok(())
}

fn repair(app: &App, project: &Project, backend: &Backend) -> Result<(), CommandError> {
    let stack = app.existing_stack(project, backend)?;
    let lease = backend
        .acquire(&stack, "lockgate stack repair")
        .map_err(|e| state_error(&e))?;
    let report = backend.repair(&lease).map_err(|e| state_error(&e))?;
    lease.release().map_err(|e| state_error(&e))?;
    for kept in &report.kept {
        app.printer
            .say(&format!("kept the damaged file as `{}`", kept.display()));
    }
    if report.used_backup {
        app.printer
            .say("took the backup: what the last run before it did may be missing");
    }
    app.printer.say(&format!(
        "saved {} journal entries; run `lockgate refresh`",
        report.entries_saved
    ));
    Ok(())
}
