//! A program: its config, variables, resources, outputs and components, each with its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_diag::{Diagnostic, SourceFile, Span};

use crate::expression::Expression;

/// A parsed program. Names are not looked up yet.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) files: Vec<Arc<SourceFile>>,
    /// Config, variables and resources in file order; inputs instead of config in a component.
    pub(crate) entries: Vec<Entry>,
    pub(crate) outputs: Vec<Output>,
    /// In file order; components hold none of their own.
    pub(crate) components: Vec<Component>,
}

/// A resource type that the program makes of others.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) name: Arc<str>,
    pub(crate) span: Span,
    pub(crate) file: usize,
    pub(crate) description: Option<String>,
    /// Its inputs, variables, resources and outputs, with names of their own.
    pub(crate) body: Program,
}

impl Program {
    /// Parses the files of a program. Sections of all files are taken together; the program is
    /// `None` when a file cannot be used at all.
    pub fn parse(files: &[Arc<SourceFile>]) -> (Option<Self>, Vec<Diagnostic>) {
        crate::parse::parse(files)
    }

    pub(crate) fn empty(files: &[Arc<SourceFile>]) -> Self {
        Self {
            files: files.to_vec(),
            entries: Vec::new(),
            outputs: Vec::new(),
            components: Vec::new(),
        }
    }

    /// Number of resources that the program itself declares, components counted as one.
    pub fn resource_count(&self) -> usize {
        self.entries
            .iter()
            .filter(|e| matches!(e.kind, EntryKind::Resource(_)))
            .count()
    }
}

/// Something with a name that references can use.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    pub(crate) span: Span,
    pub(crate) file: usize,
    pub(crate) kind: EntryKind,
}

#[derive(Clone, Debug)]
pub(crate) enum EntryKind {
    Config(Box<ConfigEntry>),
    /// An input of a component.
    Input(Box<ConfigEntry>),
    Variable(Expression),
    Resource(Box<Resource>),
}

impl EntryKind {
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Config(_) => "config value",
            Self::Input(_) => "input",
            Self::Variable(_) => "variable",
            Self::Resource(_) => "resource",
        }
    }
}

impl Entry {
    /// Every expression of the entry.
    pub(crate) fn expressions(&self) -> Vec<&Expression> {
        match &self.kind {
            EntryKind::Config(config) | EntryKind::Input(config) => {
                config.default.iter().chain(&config.value).collect()
            }
            EntryKind::Variable(expression) => vec![expression],
            EntryKind::Resource(resource) => resource.expressions(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) file: usize,
    pub(crate) value: Expression,
}

/// A declared config value.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigEntry {
    /// Key in the stack config if it is not the entry's name.
    pub(crate) key: Option<String>,
    pub(crate) kind: Option<ConfigType>,
    pub(crate) default: Option<Expression>,
    pub(crate) value: Option<Expression>,
    pub(crate) secret: Option<(bool, Span)>,
    /// An input that may be left out; it is null then.
    pub(crate) optional: bool,
    pub(crate) description: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigType {
    String,
    Number,
    Integer,
    Boolean,
    Object,
    List(Box<ConfigType>),
    /// Anything, resources too: for inputs of components.
    Any,
}

/// A resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resource {
    pub(crate) type_token: String,
    pub(crate) type_span: Span,
    /// Name for the engine if it is not the entry's.
    pub(crate) logical_name: Option<String>,
    pub(crate) default_provider: bool,
    pub(crate) properties: Properties,
    pub(crate) get: Option<Get>,
    pub(crate) options: Options,
}

#[derive(Clone, Debug)]
pub(crate) enum Properties {
    /// By name, with the place of the name.
    Map(Vec<(String, Span, Expression)>),
    /// One expression whose value is the map.
    Whole(Expression),
}

impl Default for Properties {
    fn default() -> Self {
        Self::Map(Vec::new())
    }
}

/// `get`: an existing resource to look at.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    pub(crate) id: Expression,
    pub(crate) state: Vec<(String, Expression)>,
}

/// The options of a resource: literals typed, the rest by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) additional_secret_outputs: Vec<String>,
    pub(crate) ignore_changes: Vec<String>,
    pub(crate) replace_on_changes: Vec<String>,
    pub(crate) hide_diffs: Vec<String>,
    pub(crate) delete_before_replace: Option<bool>,
    pub(crate) retain_on_delete: Option<bool>,
    pub(crate) import_id: Option<String>,
    pub(crate) version: Option<String>,
    /// Options that the program gives, by name and place.
    pub(crate) given: Vec<(&'static str, Span)>,
    /// `parent`, `dependsOn`, `customTimeouts.create` …
    pub(crate) expressions: BTreeMap<&'static str, Expression>,
}

impl Resource {
    fn expressions(&self) -> Vec<&Expression> {
        let mut all: Vec<&Expression> = Vec::new();
        match &self.properties {
            Properties::Map(entries) => all.extend(entries.iter().map(|(.., e)| e)),
            Properties::Whole(expression) => all.push(expression),
        }
        if let Some(get) = &self.get {
            all.push(&get.id);
            all.extend(get.state.iter().map(|(_, e)| e));
        }
        all.extend(self.options.expressions.values());
        all
    }
}
