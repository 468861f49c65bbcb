//! `lockgate.lock`: what each image reference was pinned to, when and by which rule.
//!
//! The text is TOML with the version on its first line and entries in the order of their
//! references, so that a change of one pin is a change of one block in a review. Fields and
//! tables of a newer minor form are kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use lockgate_diag::codes::settings::{BAD_LOCK, TOML_SYNTAX};
use lockgate_diag::{Diagnostic, SourceFile, Span};
use lockgate_model::Digest;
use toml::{Table, Value};

use crate::write::write_atomic;

/// The only version there is.
pub const LOCK_VERSION: i64 = 1;

/// The file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    /// Pins by image reference as the program writes it.
    pub images: BTreeMap<String, Pin>,
    /// Unknown top-level keys, kept on a round trip.
    extra: Table,
}

/// One pinned reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Pin {
    /// What it resolved to: an index or a single manifest.
    pub digest: Digest,
    /// Manifest digests by `os/arch`.
    pub platforms: BTreeMap<String, Digest>,
    /// When, RFC 3339 in UTC.
    pub when: String,
    /// By which rule: `digest`, `semver` …
    pub rule: String,
    /// Unknown fields, kept on a round trip.
    extra: Table,
}

impl Pin {
    /// A new pin.
    pub fn new(
        digest: Digest,
        platforms: BTreeMap<String, Digest>,
        when: String,
        rule: String,
    ) -> Self {
        Self {
            digest,
            platforms,
            when,
            rule,
            extra: Table::new(),
        }
    }

    /// A field that only the rule understands, such as `range`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.extra.get(name)?.as_str()
    }

    /// Adds such a field.
    #[must_use]
    pub fn with_field(mut self, name: &str, value: &str) -> Self {
        self.extra.insert(name.to_owned(), Value::from(value));
        self
    }
}

impl Lock {
    /// Parses the text of a lock file. An empty one is an empty lock; a newer version is refused.
    pub fn parse(file: &Arc<SourceFile>) -> (Option<Self>, Vec<Diagnostic>) {
        let mut table: Table = match toml::from_str(&file.text) {
            Ok(table) => table,
            Err(error) => {
                let span = error.span().map(Span::of).unwrap_or_default();
                let message = format!("the lock file is not valid TOML: {}", error.message());
                return (
                    None,
                    vec![Diagnostic::error(TOML_SYNTAX, message).at(file, span, "")],
                );
            }
        };
        let mut found = Vec::new();
        let mut wrong = |name: &str, message: String| {
            // A key with escapes stands in the text in another spelling.
            let at = file.text.find(name).map(|at| at..at + name.len());
            let span = at.map(Span::of).unwrap_or_default();
            found.push(Diagnostic::error(BAD_LOCK, message).at(file, span, ""));
        };
        match table.remove("version") {
            Some(Value::Integer(LOCK_VERSION)) => {}
            None if table.is_empty() => {}
            Some(Value::Integer(newer)) => wrong(
                "version",
                format!("the lock file has version {newer}, this Lockgate reads {LOCK_VERSION}"),
            ),
            _ => wrong("version", "the lock file has no `version`".to_owned()),
        }
        let mut images = BTreeMap::new();
        match table.remove("image") {
            None => {}
            Some(Value::Table(entries)) => {
                for (reference, entry) in entries {
                    match read_pin(entry) {
                        Ok(pin) => {
                            images.insert(reference, pin);
                        }
                        Err(why) => wrong(&reference, format!("pin of `{reference}`: {why}")),
                    }
                }
            }
            Some(_) => wrong("image", "`image` must be a table".to_owned()),
        }
        let lock = found.is_empty().then_some(Self {
            images,
            extra: table,
        });
        (lock, found)
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut text = format!("version = {LOCK_VERSION}\n");
        // Before the first header, where a line belongs to the whole file and not to a pin.
        for (key, value) in &self.extra {
            let _ = writeln!(text, "{} = {value}", key_text(key));
        }
        for (reference, pin) in &self.images {
            let _ = writeln!(text, "\n[image.{}]", key_text(reference));
            let _ = writeln!(text, "digest = \"{}\"", pin.digest);
            let _ = writeln!(text, "rule = {}", Value::from(pin.rule.as_str()));
            let _ = writeln!(text, "when = {}", Value::from(pin.when.as_str()));
            for (key, value) in pin.extra.iter() {
                let _ = writeln!(text, "{} = {value}", key_text(key));
            }
            for (platform, digest) in &pin.platforms {
                let _ = writeln!(text, "platforms.{} = \"{digest}\"", key_text(platform));
            }
        }
        text
    }

    /// Writes the file whole.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        write_atomic(path, self.render().as_bytes())
    }
}

/// A bare key where TOML allows one, else a quoted one.
fn key_text(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        // Always a basic string: unlike a literal one it can hold every text.
        let mut text = String::from("\"");
        for c in key.chars() {
            match c {
                '\\' | '"' => text.extend(['\\', c]),
                c if c.is_control() => {
                    let _ = write!(text, "\\u{:04X}", u32::from(c));
                }
                c => text.push(c),
            }
        }
        text + "\""
    }
}

fn read_pin(entry: Value) -> Result<Pin, String> {
    let Value::Table(mut fields) = entry else {
        return Err("expected a table".to_owned());
    };
    let digest_of = |value: Option<Value>| match value {
        Some(Value::String(text)) => Digest::parse(&text).map_err(|e| e.to_string()),
        _ => Err("`digest` is missing".to_owned()),
    };
    let digest = digest_of(fields.remove("digest"))?;
    let mut platforms = BTreeMap::new();
    if let Some(Value::Table(entries)) = fields.remove("platforms") {
        for (platform, value) in entries {
            platforms.insert(platform, digest_of(Some(value))?);
        }
    }
    let mut text = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(format!("`{name}` is missing")),
    };
    Ok(Pin {
        digest,
        platforms,
        when: text("when")?,
        rule: text("rule")?,
        extra: fields,
    })
}

#[cfg(test)]
mod tests;
