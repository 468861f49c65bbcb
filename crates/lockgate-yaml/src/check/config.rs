//! Stack config against its declarations: present, of the declared type, secret where asked.

use std::borrow::Cow;

use lockgate_config::project::to_value;
use lockgate_config::yaml::parse;
use lockgate_diag::SourceFile;
use lockgate_diag::codes::program::CONFIG_VALUE;
use lockgate_model::Value;

use super::Checker;
use crate::expression::Kind;
use crate::program::{ConfigEntry, ConfigType, Entry, EntryKind, Program};

impl Checker<'_> {
    pub(super) fn check_config(&mut self, program: &Program, entry: &Entry, config: &ConfigEntry) {
        let name = config.key.as_deref().unwrap_or(&entry.name);
        let stored = self
            .checked
            .config_key(name)
            .and_then(|key| self.checked.context.config.get(key))
            .cloned();
        let Some(value) = stored else {
            if config.kind.is_some() && config.default.is_none() && config.value.is_none() {
                let message = format!("config `{name}` is not set and has no default");
                let hint = format!("run `lockgate config set {name} <value>`");
                self.error(program, entry.file, entry.span, CONFIG_VALUE, message)
                    .hints
                    .push(hint);
            }
            self.check_default(program, entry, config);
            return;
        };
        if let Some((false, span)) = config.secret
            && value.contains_secret()
        {
            let message =
                format!("config `{name}` is stored as a secret but declared `secret: false`");
            self.error(program, entry.file, span, CONFIG_VALUE, message)
                .hints
                .push("remove `secret: false`".to_owned());
        }
        if let Some(kind) = &config.kind
            && let Err(expected) = coerce(&value, kind)
        {
            let message = format!(
                "config `{name}` must be {expected}, the stack has {}",
                value.kind_name()
            );
            let hint = format!("run `lockgate config set {name} <value>`");
            self.error(program, entry.file, entry.span, CONFIG_VALUE, message)
                .hints
                .push(hint);
        }
        self.check_default(program, entry, config);
    }

    /// A literal default must be of the declared type.
    pub(super) fn check_default(&mut self, program: &Program, entry: &Entry, config: &ConfigEntry) {
        let (Some(kind), Some(default)) = (&config.kind, &config.default) else {
            return;
        };
        let fits = match (kind, &default.kind) {
            (
                ConfigType::String,
                Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_),
            )
            | (
                ConfigType::Boolean,
                Kind::Text(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_),
            )
            | (
                ConfigType::Number | ConfigType::Integer,
                Kind::Text(_) | Kind::Bool(_) | Kind::List(_) | Kind::Map(_),
            )
            | (
                ConfigType::Object,
                Kind::Text(_) | Kind::Bool(_) | Kind::Number(_) | Kind::List(_),
            )
            | (
                ConfigType::List(_),
                Kind::Text(_) | Kind::Bool(_) | Kind::Number(_) | Kind::Map(_),
            ) => false,
            (ConfigType::Integer, Kind::Number(n)) => n.fract() == 0.0,
            _ => true,
        };
        if !fits {
            let message = format!(
                "the default of {} `{}` must be {}",
                if matches!(entry.kind, EntryKind::Input(_)) {
                    "input"
                } else {
                    "config"
                },
                entry.name,
                words(kind)
            );
            self.error(program, entry.file, default.span, CONFIG_VALUE, message);
        }
    }
}

fn words(kind: &ConfigType) -> &'static str {
    match kind {
        ConfigType::String => "a string",
        ConfigType::Number => "a number",
        ConfigType::Integer => "a whole number",
        ConfigType::Boolean => "a boolean",
        ConfigType::Object => "a map",
        ConfigType::List(_) => "a list",
        ConfigType::Any => "a value",
    }
}

/// A stored value as its declared type. Stack config is text at heart, so text that reads as the
/// type is taken; `Err` names what was expected.
pub(crate) fn coerce(value: &Value, kind: &ConfigType) -> Result<Value, &'static str> {
    if let Value::Secret(inner) = value {
        return coerce(inner, kind).map(Value::into_secret);
    }
    if *kind == ConfigType::Any {
        return Ok(value.clone());
    }
    let expected = words(kind);
    let tree = |text: &str| {
        let file = SourceFile::new("config", text);
        let (tree, found) = parse(&file);
        tree.filter(|_| found.is_empty()).map(|t| to_value(&t))
    };
    let parsed: Cow<'_, Value> = match (kind, value) {
        (ConfigType::Object | ConfigType::List(_), Value::String(text)) => {
            Cow::Owned(tree(text).ok_or(expected)?)
        }
        _ => Cow::Borrowed(value),
    };
    match (kind, parsed.as_ref()) {
        (ConfigType::String, Value::String(text)) => Ok(Value::String(text.clone())),
        (ConfigType::String, Value::Number(n)) => Ok(Value::String(n.to_string())),
        (ConfigType::String, Value::Bool(b)) => Ok(Value::String(b.to_string())),
        (ConfigType::Boolean, Value::Bool(b)) => Ok(Value::Bool(*b)),
        (ConfigType::Boolean, Value::String(text)) => {
            text.parse().map(Value::Bool).map_err(|_| expected)
        }
        (ConfigType::Number | ConfigType::Integer, Value::Number(_) | Value::String(_)) => {
            let number = match parsed.as_ref() {
                Value::Number(n) => *n,
                other => other
                    .as_str()
                    .and_then(|t| t.trim().parse::<f64>().ok())
                    .ok_or(expected)?,
            };
            if *kind == ConfigType::Integer && number.fract() != 0.0 {
                return Err(expected);
            }
            Ok(Value::Number(number))
        }
        (ConfigType::Object, Value::Map(map)) => Ok(Value::Map(map.clone())),
        (ConfigType::List(inner), Value::List(items)) => items
            .iter()
            .map(|item| coerce(item, inner))
            .collect::<Result<_, _>>()
            .map(Value::List)
            .map_err(|_| expected),
        _ => Err(expected),
    }
}
