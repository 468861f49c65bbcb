//! What is said after a run: outputs, and a line to try the result with.

use lockgate_engine::{Import, RunOutcome};
use lockgate_model::{PropertyMap, ResourceState, Urn, Value};
use serde_json::json;

use super::session::Session;
use crate::commands::import;
use crate::display::{diff, events, plan, words};
use crate::failure::CommandError;
use crate::workspace::App;

const API_KEY: &str = "lockgate:gateway:ApiKey";
const ROUTE: &str = "lockgate:gateway:Route";

/// Prints counts, outputs and how to call what was published.
pub(crate) fn report(
    app: &App,
    session: &Session,
    outcome: &RunOutcome,
    made: &[Urn],
    imports: &[Import],
) -> Result<(), CommandError> {
    if app.printer.json() {
        let mut outputs = json!({ "outputs": events::map(&outcome.outputs) });
        if !imports.is_empty() {
            outputs["imported"] = import::to_json(imports, &outcome.snapshot);
        }
        return Ok(app.printer.line(&outputs.to_string())?);
    }
    if !outcome.summary.preview {
        let time = words::duration(outcome.summary.duration);
        app.printer
            .say(&format!("{} in {time}", plan::counts(&outcome.summary)));
    }
    if !imports.is_empty() {
        app.printer.say("declare it in the program, in YAML:");
        let declaration = import::declaration(imports, &outcome.snapshot);
        return Ok(app.printer.data(&declaration)?);
    }
    for (name, value) in &outcome.outputs {
        app.printer.line(&format!("{name}: {}", shown(value)))?;
    }
    for line in calls(session, outcome, made) {
        app.printer.line(&line)?;
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => diff::render(other),
    }
}

/// A `curl` line for each route. A key is shown in clear only by the run that made it.
fn calls(session: &Session, outcome: &RunOutcome, made: &[Urn]) -> Vec<String> {
    let of_type = |kind: &'static str| {
        outcome
            .snapshot
            .resources
            .iter()
            .filter(move |r| r.type_token() == kind && !r.delete)
    };
    let mut lines = Vec::new();
    for route in of_type(ROUTE) {
        let Some(url) = route.outputs.get("url").and_then(Value::as_str) else {
            continue;
        };
        let Some(auth) = route.inputs.get("auth").and_then(Value::as_map) else {
            continue;
        };
        let Some(policy) = auth.get("apiKey").map(Value::unsecret) else {
            lines.push(format!("try it: curl {url}"));
            continue;
        };
        let Some(key) = of_type(API_KEY).find(|key| may_call(policy, key)) else {
            continue;
        };
        let header = match policy {
            Value::Map(map) => map
                .get("header")
                .and_then(Value::as_str)
                .unwrap_or("x-api-key"),
            _ => "x-api-key",
        };
        let is_new = key.urn.as_ref().is_some_and(|urn| made.contains(urn));
        match key.outputs.get("key").and_then(Value::as_str) {
            Some(text) if is_new => {
                lines.push(format!("try it: curl -H '{header}: {text}' {url}"));
                lines.push("(the key is shown this once)".to_owned());
            }
            _ => {
                if let Some(output) = output_of(&outcome.outputs, key) {
                    let stack = session.stack.stack();
                    lines.push(format!(
                        "try it: curl -H \"{header}: $(lockgate stack output {output} --show-secrets --stack {stack})\" {url}"
                    ));
                }
            }
        }
    }
    lines
}

fn may_call(policy: &Value, key: &ResourceState) -> bool {
    let consumers = match policy {
        Value::Map(map) => map
            .get("consumers")
            .and_then(Value::as_list)
            .unwrap_or_default(),
        _ => &[],
    };
    let own = key.inputs.get("consumer").and_then(Value::as_str);
    consumers.is_empty() || consumers.iter().any(|c| c.as_str() == own)
}

/// The stack output that holds the key.
fn output_of<'a>(outputs: &'a PropertyMap, key: &ResourceState) -> Option<&'a str> {
    let text = key.outputs.get("key").and_then(Value::as_str)?;
    outputs
        .iter()
        .find(|(_, value)| value.as_str() == Some(text))
        .map(|(name, _)| name.as_str())
}
