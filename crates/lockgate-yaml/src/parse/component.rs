//! Components: resource types that a program makes of others.

use lockgate_config::yaml::{Kind, Node, Unknown, read_fields};
use lockgate_diag::Span;
use lockgate_diag::codes::program::COMPONENT;

use super::Parser;
use crate::program::{Component, ConfigEntry, ConfigType, Program};

const COMPONENT_FIELDS: &[&str] = &[
    "name",
    "description",
    "pulumi",
    "inputs",
    "variables",
    "resources",
    "outputs",
];
const INPUT_FIELDS: &[&str] = &[
    "type",
    "default",
    "secret",
    "optional",
    "items",
    "description",
];

/// Most components of one program; a bound on the work that compares each with each.
const COMPONENTS_MAX: usize = 1_000;

impl Parser<'_> {
    pub(super) fn components(&mut self, node: &Node<'_>) {
        let Some(entries) = node.as_map() else {
            if node.kind != Kind::Null {
                self.report.wrong_kind("components", "a map", node);
            }
            return;
        };
        if self.program.components.len() + entries.len() > COMPONENTS_MAX {
            let message = format!("the program has more than {COMPONENTS_MAX} components");
            self.report.error(COMPONENT, node.span, message);
            return;
        }
        for (key, value) in entries {
            self.component(key, value);
        }
    }

    fn component(&mut self, key: &Node<'_>, value: &Node<'_>) {
        let Some(name) = key.as_str() else { return };
        // The name becomes a part of a type and of URNs.
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(is_word) {
            let message = format!("`{name}` cannot be the name of a component");
            self.report
                .error(COMPONENT, key.span, message)
                .hints
                .push("use letters, digits, `_` and `-`".to_owned());
        }
        let Some(entries) = value.as_map() else {
            self.report.wrong_kind(name, "a map", value);
            return;
        };
        let owner = format!("component `{name}`");
        let fields = read_fields(
            &mut self.report,
            entries,
            COMPONENT_FIELDS,
            &owner,
            Unknown::Warn,
        );
        let description = fields
            .get("description")
            .and_then(|n| self.report.string("description", n));
        if let Some(node) = fields.get("pulumi") {
            self.required_version(node);
        }
        // The body is read as a program of its own; the outer one waits aside.
        let body = Program::empty(&self.program.files);
        let outer = std::mem::replace(self.program, body);
        self.read_sections(&fields, &["inputs", "variables", "resources", "outputs"]);
        let body = std::mem::replace(self.program, outer);
        self.program.components.push(Component {
            name: name.into(),
            span: key.span,
            file: self.file,
            description,
            body,
        });
    }

    pub(super) fn input(&mut self, name: &str, span: Span, node: &Node<'_>) -> ConfigEntry {
        let Some(entries) = node.as_map() else {
            let mut entry = ConfigEntry::default();
            // `name: string` is the short form of `name: {type: string}`.
            let text = self.report.string(name, node);
            entry.kind = text.and_then(|text| self.input_type(&text, None, node.span));
            return entry;
        };
        let owner = format!("input `{name}`");
        self.declaration(&owner, span, entries, INPUT_FIELDS, Self::input_type)
    }

    fn input_type(
        &mut self,
        text: &str,
        items: Option<&Node<'_>>,
        span: Span,
    ) -> Option<ConfigType> {
        if text.eq_ignore_ascii_case("any") {
            return Some(ConfigType::Any);
        }
        self.config_type(text, items, span)
    }
}
