//! Names: one space over config, variables and resources; references must find theirs.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry as Slot;

use lockgate_diag::codes::program::{NAME_CLASH, UNKNOWN_NAME, UNKNOWN_PROPERTY};
use lockgate_diag::{Span, did_you_mean};
use lockgate_model::urn::package_of;

use super::Checker;
use crate::expression::{Expression, Reference, Step};
use crate::program::{EntryKind, Program};

/// What `${pulumi.…}` holds.
pub(crate) const PULUMI_FIELDS: &[&str] =
    &["cwd", "project", "stack", "organization", "rootDirectory"];

impl Checker<'_> {
    pub(super) fn collect_names(&mut self, program: &Program) {
        for (index, entry) in program.entries.iter().enumerate() {
            if entry.name.as_ref() == "pulumi" {
                self.error(
                    program,
                    entry.file,
                    entry.span,
                    NAME_CLASH,
                    "the name `pulumi` is reserved",
                )
                .hints
                .push("use another name".to_owned());
            }
            match self.checked.names.entry(entry.name.clone()) {
                Slot::Vacant(slot) => {
                    slot.insert(index);
                }
                Slot::Occupied(slot) => {
                    let first = &program.entries[*slot.get()];
                    // The same key twice in one section was reported by the parser.
                    let same_section = first.file == entry.file
                        && std::mem::discriminant(&first.kind)
                            == std::mem::discriminant(&entry.kind);
                    if same_section {
                        continue;
                    }
                    let noun = first.kind.noun();
                    let article = if noun.starts_with('i') { "an" } else { "a" };
                    let message =
                        format!("`{}` is already the name of {article} {noun}", entry.name);
                    let diagnostic =
                        self.error(program, entry.file, entry.span, NAME_CLASH, message);
                    *diagnostic = diagnostic
                        .clone()
                        .at(&program.files[first.file], first.span, "first used here")
                        .hint("rename one of them");
                }
            }
            // `shop:port` in the project `shop` is also `port`.
            if let EntryKind::Config(_) = &entry.kind
                && let Some((namespace, short)) = entry.name.split_once(':')
                && namespace == self.checked.context.project
            {
                self.checked.names.entry(short.into()).or_insert(index);
            }
            if let EntryKind::Resource(resource) = &entry.kind
                && resource.default_provider
            {
                let package = package_of(&resource.type_token).to_owned();
                self.checked.default_providers.insert(package, index);
            }
        }
    }

    /// Looks up every reference of an expression and notes the entries it needs.
    pub(super) fn check_references(
        &mut self,
        program: &Program,
        file: usize,
        expression: &Expression,
        needs: &mut Vec<(usize, Span)>,
    ) {
        let mut references = Vec::new();
        expression.references(&mut |reference| references.push(reference));
        for reference in references {
            if let Some(index) = self.checked.names.get(&reference.root).copied() {
                needs.push((index, reference.span));
                self.check_output(program, file, index, reference);
            } else if reference.root.as_ref() == "pulumi" {
                self.check_pulumi(program, file, reference);
            } else if self.checked.config_key(&reference.root).is_none() {
                self.unknown_name(program, file, reference);
            }
        }
    }

    fn unknown_name(&mut self, program: &Program, file: usize, reference: &Reference) {
        let name = &reference.root;
        let trimmed = name.trim();
        let outside = self.component.is_some() && self.components.outside.contains(name);
        let hint = if outside {
            let hint =
                "a component sees only what it is given: declare an input and pass the value in";
            Some(hint.to_owned())
        } else if trimmed != name.as_ref() && self.checked.names.contains_key(trimmed) {
            Some(format!("remove the blanks: `${{{trimmed}}}`"))
        } else {
            let names = program.entries.iter().map(|e| e.name.as_ref());
            did_you_mean(name, names.chain(["pulumi"])).map(|near| format!("did you mean `{near}`"))
        };
        let message = format!("no resource, variable or config value is named `{name}`");
        let diagnostic = self.error(program, file, reference.root_span, UNKNOWN_NAME, message);
        diagnostic.hints.extend(hint);
    }

    fn check_pulumi(&mut self, program: &Program, file: usize, reference: &Reference) {
        let field = match reference.steps.first() {
            Some((Step::Name(name) | Step::Key(name), _)) => name.as_str(),
            _ => "",
        };
        if PULUMI_FIELDS.contains(&field) {
            return;
        }
        let span = reference
            .steps
            .first()
            .map_or(reference.root_span, |(_, s)| *s);
        let message = format!("`pulumi` has no field `{field}`");
        let hint = match did_you_mean(field, PULUMI_FIELDS.iter().copied()) {
            Some(near) => format!("did you mean `pulumi.{near}`"),
            None => format!("fields are {}", PULUMI_FIELDS.join(", ")),
        };
        self.error(program, file, span, UNKNOWN_NAME, message)
            .hints
            .push(hint);
    }

    /// The first step on a resource must be an output its type has.
    fn check_output(
        &mut self,
        program: &Program,
        file: usize,
        index: usize,
        reference: &Reference,
    ) {
        let Some((step, span)) = reference.steps.first() else {
            return;
        };
        let Some(kind) = self.checked.types.get(index).cloned().flatten() else {
            return;
        };
        let name = match step {
            Step::Name(name) if name == "urn" => return,
            Step::Name(name) if name == "id" && kind.component.is_none() => return,
            Step::Name(name) | Step::Key(name) => name.clone(),
            Step::Index(_) => {
                let message = format!("`{}` is a resource and has no index", reference.root);
                self.error(program, file, *span, UNKNOWN_PROPERTY, message);
                return;
            }
        };
        let Some(schema) = kind.schema() else { return };
        // What goes into a component comes out of it only where it says so.
        let inputs = kind.component.is_none().then_some(&schema.inputs);
        let is_input = inputs.is_some_and(|inputs| inputs.contains_key(&name));
        if is_input || schema.outputs.contains_key(&name) {
            return;
        }
        let known = schema
            .outputs
            .keys()
            .chain(inputs.into_iter().flat_map(BTreeMap::keys));
        let own: &[&str] = match kind.component {
            Some(_) => &["urn"],
            None => &["id", "urn"],
        };
        let near = did_you_mean(&name, known.map(String::as_str).chain(own.iter().copied()));
        let (message, hint) = match kind.component {
            Some(_) if schema.inputs.contains_key(&name) => (
                format!("`{name}` is an input of component `{}`", reference.root),
                Some(format!(
                    "add `{name}: ${{{name}}}` to the outputs of the component"
                )),
            ),
            Some(_) => (
                format!("component `{}` has no output `{name}`", reference.root),
                near.map(|near| format!("did you mean `{near}`")),
            ),
            None => (
                format!("`{}` has no output `{name}`", kind.token),
                near.map(|near| format!("did you mean `{near}`")),
            ),
        };
        self.error(program, file, *span, UNKNOWN_PROPERTY, message)
            .hints
            .extend(hint);
    }
}

impl super::Checked {
    /// The full key of a stack config value by the name a reference uses.
    pub(crate) fn config_key(&self, name: &str) -> Option<&str> {
        let config = &self.context.config;
        if let Some((key, _)) = config.get_key_value(name) {
            return Some(key);
        }
        let full = format!("{}:{name}", self.context.project);
        config.get_key_value(&full).map(|(key, _)| key.as_str())
    }
}
