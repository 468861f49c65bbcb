//! Properties against the schema: unknown names, missing ones, literals of the wrong kind.

use std::collections::BTreeMap;

use lockgate_diag::codes::program::{DEPRECATED, MISSING_FIELD, UNKNOWN_PROPERTY, WRONG_KIND};
use lockgate_diag::{Diagnostic, Span, did_you_mean};
use lockgate_model::schema::{PropertyKind, PropertySchema};

use super::Checker;
use crate::expression::{Expression, Function, Kind};
use crate::program::{Program, Properties, Resource};

impl Checker<'_> {
    pub(super) fn check_resource(&mut self, program: &Program, index: usize, resource: &Resource) {
        let Some(kind) = self.checked.types[index].clone() else {
            return;
        };
        if kind.component.is_some() {
            self.check_component_use(program, &program.entries[index], resource);
        }
        let Some(schema) = kind.schema() else { return };
        let Properties::Map(properties) = &resource.properties else {
            return;
        };
        let entry = &program.entries[index];
        let owner = match kind.component {
            Some(_) => format!("component `{}`", entry.name),
            None => format!("resource `{}`", entry.name),
        };
        for (name, span, value) in properties {
            self.check_property(
                program,
                entry.file,
                &owner,
                (name, *span),
                value,
                &schema.inputs,
            );
        }
        if resource.get.is_none() {
            let given = |name: &str| properties.iter().any(|(n, ..)| n == name);
            self.check_required(
                program,
                entry.file,
                &owner,
                entry.span,
                &schema.inputs,
                &given,
            );
        }
    }

    /// A map with known keys.
    pub(super) fn check_object(
        &mut self,
        program: &Program,
        file: usize,
        owner: &str,
        span: Span,
        entries: &[(Expression, Expression)],
        schema: &BTreeMap<String, PropertySchema>,
    ) {
        let mut given = Vec::new();
        for (key, value) in entries {
            let Kind::Text(name) = &key.kind else {
                // A computed key may be any of them.
                return;
            };
            given.push(name.as_ref());
            self.check_property(program, file, owner, (name, key.span), value, schema);
        }
        self.check_required(program, file, owner, span, schema, &|name| {
            given.contains(&name)
        });
    }

    fn check_property(
        &mut self,
        program: &Program,
        file: usize,
        owner: &str,
        (name, span): (&str, Span),
        value: &Expression,
        schema: &BTreeMap<String, PropertySchema>,
    ) {
        let Some(property) = schema.get(name) else {
            let near = did_you_mean(name, schema.keys().map(String::as_str));
            let known: Vec<&str> = schema.keys().map(String::as_str).take(20).collect();
            let hint = match near {
                Some(near) => format!("did you mean `{near}`"),
                None => format!("properties are {}", known.join(", ")),
            };
            let message = format!("{owner} has no property `{name}`");
            self.error(program, file, span, UNKNOWN_PROPERTY, message)
                .hints
                .push(hint);
            return;
        };
        if let Some(why) = &property.deprecated {
            let message = format!("property `{name}` is deprecated: {why}");
            let diagnostic = Diagnostic::warning(DEPRECATED, message);
            self.found
                .push(diagnostic.at(&program.files[file], span, ""));
        }
        self.check_kind(program, file, name, value, &property.kind);
    }

    fn check_required(
        &mut self,
        program: &Program,
        file: usize,
        owner: &str,
        span: Span,
        schema: &BTreeMap<String, PropertySchema>,
        given: &dyn Fn(&str) -> bool,
    ) {
        let missing = schema.iter().filter(|(name, property)| {
            property.required
                && property.default.is_none()
                && property.constant.is_none()
                && !given(name)
        });
        for (name, property) in missing {
            let message = format!("{owner} needs the property `{name}`");
            let hint = format!("add `{name}: <{}>`", kind_word(&property.kind));
            self.error(program, file, span, MISSING_FIELD, message)
                .hints
                .push(hint);
        }
    }

    /// Literals only: what is computed may turn out right.
    fn check_kind(
        &mut self,
        program: &Program,
        file: usize,
        name: &str,
        value: &Expression,
        kind: &PropertyKind,
    ) {
        match (kind, &value.kind) {
            (PropertyKind::List(inner), Kind::List(items)) => {
                for item in items {
                    self.check_kind(program, file, name, item, inner);
                }
                return;
            }
            (PropertyKind::Map(inner), Kind::Map(entries)) => {
                for (_, item) in entries {
                    self.check_kind(program, file, name, item, inner);
                }
                return;
            }
            (PropertyKind::Object(schema), Kind::Map(entries)) => {
                let owner = format!("property `{name}`");
                self.check_object(program, file, &owner, value.span, entries, schema);
                return;
            }
            (PropertyKind::String { one_of }, Kind::Text(text)) if !one_of.is_empty() => {
                if !one_of.iter().any(|word| word == text.as_ref()) {
                    let near = did_you_mean(text, one_of.iter().map(String::as_str));
                    let message = format!("`{name}` must be one of {}", one_of.join(", "));
                    let hint = near.map(|near| format!("did you mean `{near}`"));
                    self.error(program, file, value.span, WRONG_KIND, message)
                        .hints
                        .extend(hint);
                }
                return;
            }
            _ => {}
        }
        if fits(kind, &value.kind) {
            return;
        }
        let found = found_word(&value.kind);
        let message = format!("`{name}` must be {}, found {found}", with_article(kind));
        let raw = program.files[file]
            .text
            .get(value.span.start as usize..value.span.end as usize)
            .unwrap_or_default()
            .to_owned();
        let quote = matches!(kind, PropertyKind::String { .. })
            && matches!(value.kind, Kind::Number(_) | Kind::Bool(_));
        if quote {
            // Evaluation turns it into text (`apply_schema`), as other hosts of the language do.
            let diagnostic = Diagnostic::warning(WRONG_KIND, message);
            self.found.push(
                diagnostic
                    .at(&program.files[file], value.span, "used as text")
                    .hint(format!("write `\"{raw}\"`")),
            );
        } else {
            self.error(program, file, value.span, WRONG_KIND, message);
        }
    }
}

/// Whether a literal may be of a kind; true for everything that is not certain.
fn fits(kind: &PropertyKind, value: &Kind) -> bool {
    match value {
        Kind::Null | Kind::Reference(_) | Kind::Refused => return true,
        Kind::Call(call) => {
            return match &call.function {
                Function::Builtin(builtin) if builtin.is_asset() => matches!(
                    kind,
                    PropertyKind::Asset
                        | PropertyKind::Archive
                        | PropertyKind::Any
                        | PropertyKind::OneOf(_)
                ),
                _ => true,
            };
        }
        _ => {}
    }
    match kind {
        PropertyKind::Any => true,
        PropertyKind::OneOf(kinds) => kinds.iter().any(|k| fits(k, value)),
        PropertyKind::Bool => matches!(value, Kind::Bool(_)),
        PropertyKind::Integer => matches!(value, Kind::Number(n) if n.fract() == 0.0),
        PropertyKind::Number => matches!(value, Kind::Number(_)),
        PropertyKind::String { .. } => matches!(value, Kind::Text(_) | Kind::Mixed(_)),
        PropertyKind::List(_) => matches!(value, Kind::List(_)),
        PropertyKind::Map(_) | PropertyKind::Object(_) => matches!(value, Kind::Map(_)),
        PropertyKind::Asset | PropertyKind::Archive | PropertyKind::Resource(_) => false,
    }
}

fn found_word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool(_) => "a boolean",
        Kind::Number(n) if n.fract() == 0.0 => "a number",
        Kind::Number(_) => "a number with a fraction",
        Kind::Text(_) | Kind::Mixed(_) => "a string",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a map",
        _ => "something else",
    }
}

fn kind_word(kind: &PropertyKind) -> &'static str {
    match kind {
        PropertyKind::Any | PropertyKind::OneOf(_) => "value",
        PropertyKind::Bool => "boolean",
        PropertyKind::Integer => "whole number",
        PropertyKind::Number => "number",
        PropertyKind::String { .. } => "string",
        PropertyKind::List(_) => "list",
        PropertyKind::Map(_) | PropertyKind::Object(_) => "map",
        PropertyKind::Asset => "asset",
        PropertyKind::Archive => "archive",
        PropertyKind::Resource(_) => "resource",
    }
}

fn with_article(kind: &PropertyKind) -> String {
    let word = kind_word(kind);
    let article = if word.starts_with('a') { "an" } else { "a" };
    format!("{article} {word}")
}
