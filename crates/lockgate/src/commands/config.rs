//! `lockgate config …`.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use lockgate_config::stack::EditError;
use lockgate_config::{ConfigValue, Project, StackConfig};
use lockgate_diag::REDACTED;
use lockgate_model::Value;
use lockgate_state::{Backend, SecretsManager, StackName};
use serde_json::{Map, Value as Json, json};

use crate::cli::Config;
use crate::display::events;
use crate::failure::{CommandError, usage};
use crate::workspace::{App, config_secrets, config_values, secrets_error, state_error};

/// Longest value read from standard input.
const VALUE_BYTES_MAX: u64 = 1024 * 1024;

/// The config file of a stack, open for a command.
struct Open<'a> {
    app: &'a App,
    project: Project,
    backend: Backend,
    stack: StackName,
    path: PathBuf,
    file: StackConfig,
}

/// Runs a config command.
pub(crate) fn run(app: &App, command: &Config) -> Result<(), CommandError> {
    let (project, backend, stack) = app.opened()?;
    let path = app.stack_file(&project, &stack);
    let file = app.stack_config(&path)?;
    let open = Open {
        app,
        project,
        backend,
        stack,
        path,
        file,
    };
    match command {
        Config::Set { key, value, secret } => open.set(key, value.as_deref(), *secret),
        Config::Get { key } => open.get(key),
        Config::Ls { show_secrets } => open.list(*show_secrets),
        Config::Rm { key } => open.remove(key),
    }
}

impl Open<'_> {
    /// The key with its namespace.
    fn full(&self, key: &str) -> String {
        if key.contains(':') {
            key.to_owned()
        } else {
            format!("{}:{key}", self.project.name)
        }
    }

    fn secrets(&self) -> Result<SecretsManager, CommandError> {
        let own = self
            .backend
            .load(&self.stack)
            .map_err(|e| state_error(&e))?
            .secrets;
        config_secrets(&self.file, &self.backend, &own)
    }

    fn by_hand(&self, error: EditError) -> CommandError {
        usage(
            error.to_string(),
            format!("edit `{}` by hand", self.path.display()),
        )
    }

    fn missing(&self, key: &str, hint: String) -> CommandError {
        usage(
            format!("stack `{}` has no config value `{key}`", self.stack.stack()),
            hint,
        )
    }

    fn set(mut self, key: &str, value: Option<&str>, secret: bool) -> Result<(), CommandError> {
        let text = match value {
            Some(text) => text.to_owned(),
            None => read_value(self.app)?,
        };
        let value = if secret {
            ConfigValue::Secure(
                self.secrets()?
                    .encrypt(&text)
                    .map_err(|e| secrets_error(&e))?,
            )
        } else {
            ConfigValue::Plain(Value::String(text))
        };
        let key = self.full(key);
        self.file.set(&key, value).map_err(|e| self.by_hand(e))?;
        Ok(self.file.save(&self.path)?)
    }

    fn get(&self, key: &str) -> Result<(), CommandError> {
        let values = config_values(&self.file, &self.secrets()?)?;
        let full = self.full(key);
        let Some(value) = values.get(&full) else {
            let near = lockgate_diag::did_you_mean(&full, values.keys().map(String::as_str));
            let hint = near.map_or_else(
                || format!("run `lockgate config set {key} VALUE`"),
                |near| format!("did you mean `{near}`"),
            );
            return Err(self.missing(&full, hint));
        };
        let clear = value.without_secrets();
        if self.app.printer.json() {
            return Ok(self.app.printer.json_document(&events::value(&clear))?);
        }
        Ok(self.app.printer.line(&clear.to_string())?)
    }

    fn list(&self, show_secrets: bool) -> Result<(), CommandError> {
        let printer = &self.app.printer;
        let values = if show_secrets {
            Some(config_values(&self.file, &self.secrets()?)?)
        } else {
            None
        };
        let mut rows = Map::new();
        for (key, stored) in &self.file.values {
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
        if printer.json() {
            return Ok(printer.json_document(&Json::Object(rows))?);
        }
        for (key, row) in &rows {
            let value = &row["value"];
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            printer.line(&format!("{key:<32} {text}"))?;
        }
        Ok(())
    }

    fn remove(mut self, key: &str) -> Result<(), CommandError> {
        let key = self.full(key);
        if !self.file.remove(&key).map_err(|e| self.by_hand(e))? {
            return Err(self.missing(&key, "run `lockgate config ls` to see all".to_owned()));
        }
        Ok(self.file.save(&self.path)?)
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
