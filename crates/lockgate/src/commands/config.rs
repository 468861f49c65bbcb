//! `lockgate config …`.

use std::io::{self, IsTerminal as _, Read as _};

use lockgate_config::ConfigValue;
use lockgate_diag::REDACTED;
use lockgate_model::Value;
use serde_json::{Map, Value as Json, json};

use crate::cli::Config;
use crate::display::events;
use crate::failure::{CommandError, usage};
use crate::workspace::{App, config_secrets, config_values, secrets_error, state_error};

/// Longest value read from standard input.
const VALUE_BYTES_MAX: u64 = 1024 * 1024;

/// Runs a config command.
pub(crate) fn run(app: &App, command: &Config) -> Result<(), CommandError> {
    let project = app.project()?;
    let backend = app.backend(&project)?;
    let stack = app.existing_stack(&project, &backend)?;
    let path = app.stack_file(&project, &stack);
    let mut file = app.stack_config(&path)?;
    let full = |key: &str| {
        if key.contains(':') {
            key.to_owned()
        } else {
            format!("{}:{key}", project.name)
        }
    };
    let manager = || {
        let own = backend.load(&stack).map_err(|e| state_error(&e))?.secrets;
        config_secrets(&file, &backend, &own)
    };
    match command {
        Config::Set { key, value, secret } => {
            let text = match value {
                Some(text) => text.clone(),
                None => read_value(app)?,
            };
            let value = if *secret {
                ConfigValue::Secure(manager()?.encrypt(&text).map_err(|e| secrets_error(&e))?)
            } else {
                ConfigValue::Plain(Value::String(text))
            };
            file.set(&full(key), value)
                .map_err(|e| usage(e.to_string(), format!("edit `{}` by hand", path.display())))?;
            Ok(file.save(&path)?)
        }
        Config::Get { key } => {
            let values = config_values(&file, &manager()?)?;
            let full = full(key);
            let Some(value) = values.get(&full) else {
                let near = lockgate_diag::did_you_mean(&full, values.keys().map(String::as_str));
                let hint = near.map_or_else(
                    || format!("run `lockgate config set {key} VALUE`"),
                    |near| format!("did you mean `{near}`"),
                );
                return Err(usage(
                    format!("stack `{}` has no config value `{full}`", stack.stack()),
                    hint,
                ));
            };
            let clear = value.without_secrets();
            if app.printer.json() {
                return Ok(app.printer.json_document(&events::value(&clear))?);
            }
            Ok(app.printer.line(&clear.to_string())?)
        }
        Config::Ls { show_secrets } => {
            let mut rows = Map::new();
            let values = if *show_secrets {
                Some(config_values(&file, &manager()?)?)
            } else {
                None
            };
            for (key, stored) in &file.values {
                let shown = match (&values, stored) {
                    (Some(values), _) => values
                        .get(key)
                        .map_or(Json::Null, |v| events::value(&v.without_secrets())),
                    (None, ConfigValue::Plain(value)) => events::value(value),
                    (None, other) if other.is_secret() => json!(REDACTED),
                    (None, other) => json!(format!("{other:?}")),
                };
                rows.insert(
                    key.clone(),
                    json!({ "value": shown, "secret": stored.is_secret() }),
                );
            }
            if app.printer.json() {
                return Ok(app.printer.json_document(&Json::Object(rows))?);
            }
            for (key, row) in &rows {
                let value = row["value"]
                    .as_str()
                    .map_or_else(|| row["value"].to_string(), str::to_owned);
                app.printer.line(&format!("{key:<32} {value}"))?;
            }
            Ok(())
        }
        Config::Rm { key } => {
            let removed = file
                .remove(&full(key))
                .map_err(|e| usage(e.to_string(), format!("edit `{}` by hand", path.display())))?;
            if !removed {
                return Err(usage(
                    format!(
                        "stack `{}` has no config value `{}`",
                        stack.stack(),
                        full(key)
                    ),
                    "run `lockgate config ls` to see all",
                ));
            }
            Ok(file.save(&path)?)
        }
    }
}

/// The value from standard input, without its last line feed.
fn read_value(app: &App) -> Result<String, CommandError> {
    if io::stdin().is_terminal() {
        app.printer.say("value, then Ctrl-D:");
    }
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(VALUE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}
