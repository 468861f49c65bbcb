//! Config entries: declared types, defaults, secrets.

use lockgate_config::project::CONFIG_FIELDS;
use lockgate_config::yaml::{Node, Unknown, read_fields};
use lockgate_diag::codes::program::CONFIG_VALUE;
use lockgate_diag::{Span, did_you_mean};

use super::Parser;
use crate::program::{ConfigEntry, ConfigType};

const TYPES: &[&str] = &[
    "string",
    "number",
    "integer",
    "boolean",
    "object",
    "array",
    "list<string>",
];

/// Reads the type of a declaration from its text, its `items` and its place.
type ReadType<'p> = fn(&mut Parser<'p>, &str, Option<&Node<'_>>, Span) -> Option<ConfigType>;

impl<'p> Parser<'p> {
    pub(super) fn config(&mut self, name: &str, span: Span, node: &Node<'_>) -> ConfigEntry {
        let Some(entries) = node.as_map() else {
            let mut entry = ConfigEntry::default();
            // A bare value is the default of an own key and the value of a foreign one.
            let value = Some(self.expression(node));
            if name.contains(':') {
                entry.value = value;
            } else {
                entry.default = value;
            }
            return entry;
        };
        let owner = format!("config `{name}`");
        self.declaration(&owner, span, entries, CONFIG_FIELDS, Self::config_type)
    }

    /// What config values and inputs share; `read_type` says which types there are.
    pub(super) fn declaration(
        &mut self,
        owner: &str,
        span: Span,
        entries: &[(Node<'_>, Node<'_>)],
        known: &'static [&'static str],
        read_type: ReadType<'p>,
    ) -> ConfigEntry {
        let fields = read_fields(&mut self.report, entries, known, owner, Unknown::Warn);
        let mut entry = ConfigEntry {
            key: fields
                .get("name")
                .and_then(|n| self.report.string("name", n)),
            default: fields.get("default").map(|n| self.expression(n)),
            value: fields.get("value").map(|n| self.expression(n)),
            secret: fields
                .get("secret")
                .and_then(|n| Some((self.report.boolean("secret", n)?, n.span))),
            optional: fields
                .get("optional")
                .and_then(|n| self.report.boolean("optional", n))
                .unwrap_or_default(),
            description: fields
                .get("description")
                .and_then(|n| self.report.string("description", n)),
            kind: None,
        };
        match fields.get("type") {
            Some(node) => {
                let text = self.report.string("type", node);
                entry.kind =
                    text.and_then(|text| read_type(self, &text, fields.get("items"), node.span));
            }
            None if entry.default.is_none() && entry.value.is_none() => self.untyped(owner, span),
            None => {}
        }
        entry
    }

    fn untyped(&mut self, owner: &str, span: Span) {
        let message = format!("{owner} has neither `type` nor `default`");
        self.report
            .error(CONFIG_VALUE, span, message)
            .hints
            .push("add `type: string`".to_owned());
    }

    pub(super) fn config_type(
        &mut self,
        text: &str,
        items: Option<&Node<'_>>,
        span: Span,
    ) -> Option<ConfigType> {
        if text.eq_ignore_ascii_case("array") {
            let inner = match items.and_then(Node::as_map) {
                Some(entries) => {
                    let get = |name: &str| {
                        entries
                            .iter()
                            .find(|(k, _)| k.as_str() == Some(name))
                            .map(|(_, v)| v)
                    };
                    let kind = get("type").and_then(|n| self.report.string("items.type", n))?;
                    self.config_type(&kind, get("items"), span)?
                }
                None => ConfigType::String,
            };
            return Some(ConfigType::List(Box::new(inner)));
        }
        let found = parse_type(text);
        if found.is_none() {
            let near = did_you_mean(text, TYPES.iter().copied());
            let diagnostic =
                self.report
                    .error(CONFIG_VALUE, span, format!("`{text}` is not a config type"));
            diagnostic.hints.push(match near {
                Some(near) => format!("did you mean `{near}`"),
                None => format!("types are {}", TYPES.join(", ")),
            });
        }
        found
    }
}

/// A type by its name, without regard to case.
pub(crate) fn parse_type(text: &str) -> Option<ConfigType> {
    let lower = text.trim().to_ascii_lowercase();
    Some(match lower.as_str() {
        "string" => ConfigType::String,
        "number" => ConfigType::Number,
        "int" | "integer" => ConfigType::Integer,
        "bool" | "boolean" => ConfigType::Boolean,
        "object" => ConfigType::Object,
        _ => {
            let inner = lower.strip_prefix("list<")?.strip_suffix('>')?;
            ConfigType::List(Box::new(parse_type(inner)?))
        }
    })
}
