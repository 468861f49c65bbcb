//! Resources: fields, options, `get`.

use lockgate_config::yaml::{Kind, Node, Unknown, read_fields};
use lockgate_diag::Span;
use lockgate_diag::codes::program::{MISSING_FIELD, UNKNOWN_FIELD};

use super::Parser;
use crate::program::{Get, Options, Properties, Resource};

const RESOURCE_FIELDS: &[&str] = &[
    "type",
    "name",
    "defaultProvider",
    "properties",
    "options",
    "get",
];
const GET_FIELDS: &[&str] = &["id", "state"];
const OPTION_FIELDS: &[&str] = &[
    "additionalSecretOutputs",
    "aliases",
    "customTimeouts",
    "deleteBeforeReplace",
    "dependsOn",
    "ignoreChanges",
    "import",
    "parent",
    "protect",
    "provider",
    "providers",
    "version",
    "pluginDownloadURL",
    "replaceOnChanges",
    "retainOnDelete",
    "replaceWith",
    "deletedWith",
    "hideDiffs",
    "replacementTrigger",
    "envVarMappings",
];
/// Options whose values are expressions.
const OPTION_EXPRESSIONS: &[&str] = &[
    "aliases",
    "dependsOn",
    "parent",
    "protect",
    "provider",
    "providers",
    "replaceWith",
    "deletedWith",
    "replacementTrigger",
];
const TIMEOUT_FIELDS: &[&str] = &["create", "update", "delete", "read"];
/// The same, as keys of [`Options::expressions`].
const TIMEOUTS: &[(&str, &str)] = &[
    ("create", "customTimeouts.create"),
    ("update", "customTimeouts.update"),
    ("delete", "customTimeouts.delete"),
    ("read", "customTimeouts.read"),
];

impl Parser<'_> {
    pub(super) fn resource(&mut self, name: &str, span: Span, node: &Node<'_>) -> Option<Resource> {
        let owner = format!("resource `{name}`");
        let Some(entries) = node.as_map() else {
            self.report.wrong_kind(name, "a map", node);
            return None;
        };
        let fields = read_fields(
            &mut self.report,
            entries,
            RESOURCE_FIELDS,
            &owner,
            Unknown::Warn,
        );
        let mut resource = Resource::default();
        match fields.get("type") {
            Some(node) => {
                resource.type_token = self.report.string("type", node).unwrap_or_default();
                resource.type_span = node.span;
            }
            None => {
                self.report
                    .error(MISSING_FIELD, span, format!("{owner} has no `type`"))
                    .hints
                    .push("add `type: <package>:<module>:<Name>`".to_owned());
            }
        }
        resource.logical_name = fields
            .get("name")
            .and_then(|n| self.report.string("name", n));
        resource.default_provider = fields
            .get("defaultProvider")
            .and_then(|n| self.report.boolean("defaultProvider", n))
            .unwrap_or_default();
        if let Some(node) = fields.get("properties") {
            resource.properties = self.properties(node);
        }
        if let Some(node) = fields.get("options") {
            resource.options = self.options(node);
        }
        if let Some((key, node)) = fields.entry("get") {
            resource.get = self.get(&owner, key.span, node);
            if let Some((key, _)) = fields.entry("properties") {
                let message = format!("{owner} has both `get` and `properties`, expected one");
                self.report.error(UNKNOWN_FIELD, key.span, message);
            }
        }
        Some(resource)
    }

    fn properties(&mut self, node: &Node<'_>) -> Properties {
        let Some(entries) = node.as_map() else {
            let reference = node.as_str().is_some_and(|text| text.contains("${"));
            if !reference {
                self.report.wrong_kind("properties", "a map", node);
                return Properties::default();
            }
            return Properties::Whole(self.expression(node));
        };
        let function = |key: &Node<'_>| {
            key.as_str()
                .is_some_and(|k| k.to_ascii_lowercase().starts_with("fn::"))
        };
        if let [(key, _)] = entries
            && function(key)
        {
            return Properties::Whole(self.expression(node));
        }
        let mut properties = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if let Some(name) = key.as_str() {
                properties.push((name.to_owned(), key.span, self.expression(value)));
            }
        }
        Properties::Map(properties)
    }

    fn get(&mut self, owner: &str, span: Span, node: &Node<'_>) -> Option<Get> {
        let Some(entries) = node.as_map() else {
            self.report.wrong_kind("get", "a map", node);
            return None;
        };
        let fields = read_fields(
            &mut self.report,
            entries,
            GET_FIELDS,
            "`get`",
            Unknown::Warn,
        );
        let Some(id) = fields.get("id") else {
            self.report
                .error(MISSING_FIELD, span, format!("`get` of {owner} has no `id`"))
                .hints
                .push("add `id: <id of the existing resource>`".to_owned());
            return None;
        };
        let id = self.expression(id);
        let state = match fields.get("state").map(|n| (n, n.as_map())) {
            Some((_, Some(entries))) => entries
                .iter()
                .filter_map(|(k, v)| Some((k.as_str()?.to_owned(), self.expression(v))))
                .collect(),
            Some((node, None)) => {
                self.report.wrong_kind("state", "a map", node);
                Vec::new()
            }
            None => Vec::new(),
        };
        Some(Get { id, state })
    }

    fn options(&mut self, node: &Node<'_>) -> Options {
        let mut options = Options::default();
        let Some(entries) = node.as_map() else {
            self.report.wrong_kind("options", "a map", node);
            return options;
        };
        let fields = read_fields(
            &mut self.report,
            entries,
            OPTION_FIELDS,
            "`options`",
            Unknown::Warn,
        );
        options.given = OPTION_FIELDS
            .iter()
            .filter_map(|name| Some((*name, fields.entry(name)?.0.span)))
            .collect();
        let report = &mut self.report;
        let mut strings = |name: &str| {
            fields
                .get(name)
                .map(|n| report.strings(name, n))
                .unwrap_or_default()
        };
        options.additional_secret_outputs = strings("additionalSecretOutputs");
        options.ignore_changes = strings("ignoreChanges");
        options.replace_on_changes = strings("replaceOnChanges");
        options.hide_diffs = strings("hideDiffs");
        let mut boolean = |name: &str| fields.get(name).and_then(|n| report.boolean(name, n));
        options.delete_before_replace = boolean("deleteBeforeReplace");
        options.retain_on_delete = boolean("retainOnDelete");
        let mut string = |name: &str| fields.get(name).and_then(|n| report.string(name, n));
        options.import_id = string("import");
        options.version = string("version");
        string("pluginDownloadURL");
        for name in ["pluginDownloadURL", "envVarMappings"] {
            if let Some((key, _)) = fields.entry(name) {
                let message = format!("`{name}` has no effect: packages are built in");
                report.warn(UNKNOWN_FIELD, key.span, message);
            }
        }
        for name in OPTION_EXPRESSIONS {
            if let Some(node) = fields.get(name) {
                let expression = self.expression(node);
                options.expressions.insert(name, expression);
            }
        }
        if let Some(node) = fields.get("customTimeouts") {
            self.timeouts(node, &mut options);
        }
        options
    }

    fn timeouts(&mut self, node: &Node<'_>, options: &mut Options) {
        let Kind::Map(entries) = &node.kind else {
            self.report.wrong_kind("customTimeouts", "a map", node);
            return;
        };
        let owner = "`customTimeouts`";
        let fields = read_fields(
            &mut self.report,
            entries,
            TIMEOUT_FIELDS,
            owner,
            Unknown::Warn,
        );
        for (name, key) in TIMEOUTS {
            if let Some(node) = fields.get(name) {
                let expression = self.expression(node);
                options.expressions.insert(key, expression);
            }
        }
    }
}
