//! `lockgate import TYPE NAME ID`: takes a resource that exists into the stack.

use lockgate_engine::{Import, Providers};
use lockgate_model::{PropertyMap, ResourceState, Snapshot, Urn, Value};
use serde_json::{Value as Json, json};

use super::state::find;
use crate::cli::{self, Run};
use crate::display::events;
use crate::failure::{CommandError, usage};
use crate::workspace::App;

/// Runs the command.
pub(crate) async fn run(app: &App, args: &cli::Import) -> Result<(), CommandError> {
    if args.id.is_empty() || args.name.is_empty() {
        return Err(usage(
            "name and id of an import must not be empty",
            "run `lockgate import <package>:<module>:<Name> <name> <id>`",
        ));
    }
    let run = Run {
        message: args.message.clone(),
        ..Run::default()
    };
    super::run::import(app, &run, |base, providers| {
        Ok(vec![wanted(args, base, providers)?])
    })
    .await
}

fn wanted(
    args: &cli::Import,
    base: &Snapshot,
    providers: &dyn Providers,
) -> Result<Import, CommandError> {
    let type_token = lockgate_yaml::find_resource_type(providers, &args.type_token)
        .map_err(|diagnostic| CommandError::Usage(vec![*diagnostic]))?;
    let parent = args.parent.as_deref().map(|urn| find(base, urn));
    let provider = args.provider.as_deref().map(|urn| provider(base, urn));
    Ok(Import {
        type_token,
        name: args.name.clone(),
        id: args.id.clone(),
        parent: parent.transpose()?,
        provider: provider.transpose()?,
        protect: args.protect,
    })
}

/// A provider of the state as `<urn>::<id>`.
fn provider(base: &Snapshot, text: &str) -> Result<String, CommandError> {
    let urn = find(base, text)?;
    let mut entries = base.resources.iter();
    let entry = entries.find(|r| r.urn.as_ref() == Some(&urn) && r.is_provider() && !r.delete);
    match entry {
        Some(entry) => Ok(format!("{urn}::{}", entry.id)),
        None => Err(usage(
            format!("`{urn}` is no provider"),
            "name a resource of type `pulumi:providers:<package>`",
        )),
    }
}

/// The entries that an import made.
fn imported<'s>(
    imports: &'s [Import],
    snapshot: &'s Snapshot,
) -> impl Iterator<Item = (&'s Urn, &'s ResourceState)> {
    imports.iter().filter_map(|import| {
        let mut entries = snapshot.resources.iter();
        let entry = entries.rfind(|r| {
            let urn = r.urn.as_ref();
            urn.is_some_and(|u| u.name() == import.name && u.type_token() == import.type_token)
                && r.id == import.id
        })?;
        Some((entry.urn.as_ref()?, &**entry))
    })
}

/// What was imported, for `--json`. Secrets are masked.
pub(crate) fn to_json(imports: &[Import], snapshot: &Snapshot) -> Json {
    imported(imports, snapshot)
        .map(|(urn, state)| {
            json!({
                "urn": urn.as_str(), "type": urn.type_token(), "name": urn.name(),
                "id": state.id, "inputs": events::map(&state.inputs),
            })
        })
        .collect()
}

/// How a YAML program declares what was imported.
pub(crate) fn declaration(imports: &[Import], snapshot: &Snapshot) -> String {
    let mut text = String::from("resources:\n");
    for (urn, state) in imported(imports, snapshot) {
        text.push_str(&format!(
            "  {}:\n    type: {}\n",
            scalar(urn.name()),
            urn.type_token()
        ));
        if !state.inputs.is_empty() {
            text.push_str("    properties:\n");
            push_map(&mut text, &state.inputs, 6);
        }
        if state.protect {
            text.push_str("    options:\n      protect: true\n");
        }
    }
    text
}

fn push_map(text: &mut String, map: &PropertyMap, indent: usize) {
    for (name, value) in map {
        text.push_str(&format!("{:indent$}{}:", "", scalar(name)));
        match value {
            Value::Map(inner) if !inner.is_empty() => {
                text.push('\n');
                push_map(text, inner, indent + 2);
            }
            Value::Secret(_) => text.push_str(&format!(
                " ${{{name}}} # a secret: `lockgate config set --secret {name}`\n"
            )),
            other => text.push_str(&format!(" {}\n", flow(other))),
        }
    }
}

/// A value on one line. JSON is YAML; only references need care.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => events::value(other).to_string().replace("${", "$${"),
    }
}

/// Text as it stands where nothing else could be meant, else in quotes.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '.');
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(is_plain)
        && !["true", "false", "null"].contains(&text.to_ascii_lowercase().as_str());
    if is_word {
        text.to_owned()
    } else {
        Json::from(text).to_string().replace("${", "$${")
    }
}
