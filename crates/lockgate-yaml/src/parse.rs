//! Tree to program: sections, fields and expressions, with every mistake collected.

mod component;
mod config;
mod expression;
mod resource;

use std::sync::Arc;

use lockgate_config::project::PROJECT_FIELDS;
use lockgate_config::version;
use lockgate_config::yaml::{Fields, Kind, Node, Report, Unknown, parse_map, read_fields};
use lockgate_diag::codes::program::{DEPRECATED, YAML_UNSUPPORTED};
use lockgate_diag::{Diagnostic, SourceFile};

use crate::program::{Entry, EntryKind, Output, Program};

/// Most names of one program; a bound on the work of everything that follows.
pub(crate) const NAMES_MAX: usize = 100_000;

/// State of the walk over one file.
struct Parser<'p> {
    report: Report,
    program: &'p mut Program,
    file: usize,
    /// Number of the next call, counted over all files.
    slots: &'p mut u32,
}

pub(crate) fn parse(files: &[Arc<SourceFile>]) -> (Option<Program>, Vec<Diagnostic>) {
    let mut program = Program::empty(files);
    let mut found = Vec::new();
    let mut usable = true;
    let mut slots = 0;
    for (index, file) in files.iter().enumerate() {
        let (tree, syntax) = parse_map(file);
        let mut report = Report::new(file);
        report.found = syntax;
        let mut parser = Parser {
            report,
            program: &mut program,
            file: index,
            slots: &mut slots,
        };
        match tree.as_ref().and_then(Node::as_map) {
            Some(entries) => parser.sections(entries),
            None => usable = false,
        }
        found.append(&mut parser.report.found);
    }
    let inner = program.components.iter().map(|c| 1 + c.body.entries.len());
    if program.entries.len() + inner.sum::<usize>() > NAMES_MAX {
        let message = format!("the program has more than {NAMES_MAX} names");
        found.push(Diagnostic::error(YAML_UNSUPPORTED, message));
        usable = false;
    }
    (usable.then_some(program), found)
}

impl Parser<'_> {
    fn sections(&mut self, entries: &[(Node<'_>, Node<'_>)]) {
        let owner = "the program";
        let fields = read_fields(
            &mut self.report,
            entries,
            PROJECT_FIELDS,
            owner,
            Unknown::WarnNear,
        );
        if let Some(node) = fields.get("pulumi") {
            self.required_version(node);
        }
        if let Some(node) = fields.get("components") {
            self.components(node);
        }
        // File order decides ties everywhere, so sections are read in the order they stand in.
        let names = [
            "configuration",
            "config",
            "variables",
            "resources",
            "outputs",
        ];
        self.read_sections(&fields, &names);
    }

    /// `pulumi.requiredVersion`.
    fn required_version(&mut self, node: &Node<'_>) {
        let Some(entries) = node.as_map() else {
            self.report.wrong_kind("pulumi", "a map", node);
            return;
        };
        let known = &["requiredVersion"];
        let fields = read_fields(&mut self.report, entries, known, "`pulumi`", Unknown::Warn);
        // An expression is refused, too: the answer must be known before anything is registered.
        if let Some(node) = fields.get("requiredVersion")
            && let Some(range) = self.report.string("pulumi.requiredVersion", node)
            && let Err(diagnostic) = version::check(
                "pulumi.requiredVersion",
                &range,
                &self.report.file,
                node.span,
            )
        {
            self.report.found.push(*diagnostic);
        }
    }

    fn read_sections(&mut self, fields: &Fields<'_, '_>, names: &[&'static str]) {
        let mut sections: Vec<_> = names
            .iter()
            .filter_map(|name| fields.entry(name).map(|(key, value)| (*name, key, value)))
            .collect();
        sections.sort_by_key(|(_, key, _)| key.span.start);
        for (name, key, value) in sections {
            if name == "configuration" {
                self.report
                    .warn(
                        DEPRECATED,
                        key.span,
                        "`configuration` is the old name of `config`",
                    )
                    .hints
                    .push("rename it to `config`".to_owned());
            }
            let Some(entries) = value.as_map() else {
                // An empty `config:` is common in generated project files and harmless.
                let may_be_empty = name.starts_with("config") || name == "inputs";
                if !(may_be_empty && value.kind == Kind::Null) {
                    self.report.wrong_kind(name, "a map", value);
                }
                continue;
            };
            for (key, value) in entries {
                self.entry(name, key, value);
            }
        }
    }

    fn entry(&mut self, section: &str, key: &Node<'_>, value: &Node<'_>) {
        let Some(name) = key.as_str() else { return };
        let kind = match section {
            "variables" => EntryKind::Variable(self.expression(value)),
            "resources" => match self.resource(name, key.span, value) {
                Some(resource) => EntryKind::Resource(Box::new(resource)),
                None => return,
            },
            "outputs" => {
                let value = self.expression(value);
                self.program.outputs.push(Output {
                    name: name.to_owned(),
                    file: self.file,
                    value,
                });
                return;
            }
            "inputs" => EntryKind::Input(Box::new(self.input(name, key.span, value))),
            _ => EntryKind::Config(Box::new(self.config(name, key.span, value))),
        };
        self.program.entries.push(Entry {
            name: name.into(),
            span: key.span,
            file: self.file,
            kind,
        });
    }
}
