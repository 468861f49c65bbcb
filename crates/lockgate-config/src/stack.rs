//! `Pulumi.<stack>.yaml`: stack config, its ciphertexts, and edits that leave the rest alone.

mod edit;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_diag::codes::program::WRONG_KIND;
use lockgate_diag::{Diagnostic, SourceFile, Span};
use lockgate_model::Value;

use crate::project::load_source;
use crate::write::write_atomic;
use crate::yaml::{Kind, Node, Report, Unknown, parse, read_fields};

pub use edit::EditError;

/// A config value as stored.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// A scalar in clear. Numbers that would print differently from what the file says stay text.
    Plain(Value),
    /// `{secure: <ciphertext>}`.
    Secure(String),
    /// A list; items may be secure.
    List(Vec<ConfigValue>),
    /// A map; values may be secure.
    Map(BTreeMap<String, ConfigValue>),
}

impl ConfigValue {
    /// Whether it or anything in it is encrypted.
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(_) => true,
            Self::List(items) => items.iter().any(Self::is_secret),
            Self::Map(map) => map.values().any(Self::is_secret),
        }
    }

    /// The value in clear; `decrypt` turns a ciphertext into text. What was encrypted comes out
    /// wrapped as secret.
    pub fn resolve<E>(
        &self,
        decrypt: &mut dyn FnMut(&str) -> Result<String, E>,
    ) -> Result<Value, E> {
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Secure(ciphertext) => Value::String(decrypt(ciphertext)?).into_secret(),
            Self::List(items) => Value::List(
                items
                    .iter()
                    .map(|item| item.resolve(decrypt))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Map(map) => Value::Map(
                map.iter()
                    .map(|(key, value)| Ok((key.clone(), value.resolve(decrypt)?)))
                    .collect::<Result<_, E>>()?,
            ),
        })
    }
}

/// A stack file.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// The text it stands for; edits replace it.
    pub file: Arc<SourceFile>,
    /// Values by full key, `project:key`.
    pub values: BTreeMap<String, ConfigValue>,
    /// Where each key stands.
    pub spans: BTreeMap<String, Span>,
    /// Salt and check word of the passphrase.
    pub encryption_salt: Option<String>,
    /// URL of the secrets provider.
    pub secrets_provider: Option<String>,
    /// Data key wrapped by that provider.
    pub encrypted_key: Option<String>,
}

const STACK_FIELDS: &[&str] = &[
    "config",
    "encryptionsalt",
    "secretsprovider",
    "encryptedkey",
    "environment",
];

/// Path of the file of a stack.
pub fn stack_path(root: &Path, stack_config_dir: Option<&str>, stack: &str) -> PathBuf {
    root.join(stack_config_dir.unwrap_or_default())
        .join(format!("Pulumi.{stack}.yaml"))
}

impl StackConfig {
    /// Reads a stack file; a missing one is an empty config.
    pub fn load(path: &Path) -> (Option<Self>, Vec<Diagnostic>) {
        let shown = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        if matches!(fs_err::metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound) {
            return Self::parse(&SourceFile::new(shown, ""));
        }
        match load_source(path, &shown) {
            Ok(file) => Self::parse(&file),
            Err(diagnostic) => (None, vec![*diagnostic]),
        }
    }

    /// Parses a stack file.
    pub fn parse(file: &Arc<SourceFile>) -> (Option<Self>, Vec<Diagnostic>) {
        let (tree, found) = parse(file);
        let mut report = Report::new(file);
        report.found = found;
        let Some(tree) = tree else {
            return (None, report.found);
        };
        let mut stack = Self {
            file: Arc::clone(file),
            values: BTreeMap::new(),
            spans: BTreeMap::new(),
            encryption_salt: None,
            secrets_provider: None,
            encrypted_key: None,
        };
        let entries = match &tree.kind {
            Kind::Null => return (Some(stack), report.found),
            Kind::Map(entries) => entries,
            _ => {
                report.wrong_kind("the stack file", "a map", &tree);
                return (None, report.found);
            }
        };
        let owner = "the stack file";
        let fields = read_fields(&mut report, entries, STACK_FIELDS, owner, Unknown::Warn);
        let mut text = |name: &str| fields.get(name).and_then(|n| report.string(name, n));
        stack.encryption_salt = text("encryptionsalt");
        stack.secrets_provider = text("secretsprovider");
        stack.encrypted_key = text("encryptedkey");
        if let Some(node) = fields.get("environment") {
            report.warn(
                WRONG_KIND,
                node.span,
                "`environment` is not supported and ignored",
            );
        }
        match fields.get("config").map(|n| (n, &n.kind)) {
            Some((_, Kind::Map(entries))) => {
                for (key, value) in entries {
                    let Some(name) = key.as_str() else { continue };
                    stack
                        .values
                        .insert(name.to_owned(), read(&mut report, value));
                    stack.spans.insert(name.to_owned(), key.span);
                }
            }
            None | Some((_, Kind::Null)) => {}
            Some((node, _)) => report.wrong_kind("config", "a map", node),
        }
        (Some(stack), report.found)
    }

    /// Sets a key; everything else in the file stays byte for byte.
    pub fn set(&mut self, key: &str, value: ConfigValue) -> Result<(), EditError> {
        if self.values.get(key) == Some(&value) {
            return Ok(());
        }
        let text = edit::set(&self.file, &["config", key], &value)?;
        let mut expected = self.values.clone();
        expected.insert(key.to_owned(), value);
        self.replace(text, |new| new.values == expected)
    }

    /// Removes a key; `false` when it was not set.
    pub fn remove(&mut self, key: &str) -> Result<bool, EditError> {
        if !self.values.contains_key(key) {
            return Ok(false);
        }
        let text = edit::remove(&self.file, key, self.values.len() == 1)?;
        let mut expected = self.values.clone();
        expected.remove(key);
        self.replace(text, |new| new.values == expected)?;
        Ok(true)
    }

    /// Sets the salt of the passphrase.
    pub fn set_encryption_salt(&mut self, salt: &str) -> Result<(), EditError> {
        if self.encryption_salt.as_deref() == Some(salt) {
            return Ok(());
        }
        let value = ConfigValue::Plain(Value::from(salt));
        let text = edit::set(&self.file, &["encryptionsalt"], &value)?;
        self.replace(text, |new| new.encryption_salt.as_deref() == Some(salt))
    }

    /// Writes the file whole.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        write_atomic(path, self.file.text.as_bytes())
    }

    /// Takes over an edited text once it reads as meant; a layout the edit did not foresee must
    /// never lose a value.
    fn replace(
        &mut self,
        text: String,
        meant: impl FnOnce(&Self) -> bool,
    ) -> Result<(), EditError> {
        let file = SourceFile::new(self.file.path.clone(), text);
        match Self::parse(&file) {
            (Some(new), _) if meant(&new) => {
                *self = new;
                Ok(())
            }
            _ => Err(EditError::Layout),
        }
    }
}

fn read(report: &mut Report, node: &Node<'_>) -> ConfigValue {
    match &node.kind {
        Kind::List(items) => ConfigValue::List(items.iter().map(|i| read(report, i)).collect()),
        Kind::Map(entries) => {
            if let [(key, value)] = entries.as_slice()
                && key.as_str() == Some("secure")
                && let Some(ciphertext) = value.as_str()
            {
                return ConfigValue::Secure(ciphertext.to_owned());
            }
            ConfigValue::Map(
                entries
                    .iter()
                    .filter_map(|(k, v)| Some((k.as_str()?.to_owned(), read(report, v))))
                    .collect(),
            )
        }
        Kind::Number(number) => {
            let raw = report.raw(node.span);
            ConfigValue::Plain(if number.to_string() == raw {
                Value::Number(*number)
            } else {
                Value::from(raw)
            })
        }
        Kind::Bool(value) => ConfigValue::Plain(Value::Bool(*value)),
        Kind::String(text) => ConfigValue::Plain(Value::String(text.to_string())),
        Kind::Null | Kind::Refused => ConfigValue::Plain(Value::Null),
    }
}

#[cfg(test)]
mod tests;
