//! `Pulumi.yaml`: what a project is and which stack config it declares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_diag::codes::program::{MISSING_FIELD, WRONG_KIND};
use lockgate_diag::codes::settings::FILE_UNREADABLE;
use lockgate_diag::{Diagnostic, SourceFile, Span};
use lockgate_model::Value;

use crate::version;
use crate::yaml::{Kind, Node, Report, Unknown, parse_map, read_fields};

/// Names a project file may have, the preferred one first.
pub const PROJECT_FILES: [&str; 2] = ["Pulumi.yaml", "Pulumi.yml"];

/// Every top-level key of the file: the project's and those of YAML programs in it.
pub const PROJECT_FIELDS: &[&str] = &[
    "name",
    "runtime",
    "description",
    "main",
    "config",
    "configuration",
    "backend",
    "stackConfigDir",
    "requiredPulumiVersion",
    "options",
    "packages",
    "plugins",
    "template",
    "author",
    "website",
    "license",
    "namespace",
    "version",
    "pulumi",
    "variables",
    "resources",
    "outputs",
    "components",
    "environment",
];

/// A project.
#[derive(Clone, Debug)]
pub struct Project {
    /// The file it was read from.
    pub file: Arc<SourceFile>,
    /// Folder of the file; everything relative starts here.
    pub root: PathBuf,
    /// Project name.
    pub name: String,
    /// Where the name stands.
    pub name_span: Span,
    /// Language and its options.
    pub runtime: Runtime,
    /// Free text.
    pub description: Option<String>,
    /// Folder or file of the program, relative to `root`.
    pub main: Option<String>,
    /// Declared stack config by key as written.
    pub config: BTreeMap<String, ConfigDeclaration>,
    /// State backend.
    pub backend_url: Option<String>,
    /// Folder of the stack files, relative to `root`.
    pub stack_config_dir: Option<String>,
    /// `requiredPulumiVersion`: the engine versions that the project accepts, and where it says so.
    pub required_version: Option<(String, Span)>,
}

/// The language of a project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runtime {
    /// `yaml`, `python`, `nodejs` …
    pub name: String,
    /// `runtime.options`.
    pub options: BTreeMap<String, Value>,
    /// Where it stands.
    pub span: Span,
}

/// A declared config entry of the project file.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigDeclaration {
    /// Declared type, as written.
    pub kind: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Used when the stack gives none. YAML programs evaluate it themselves.
    pub default: Option<Value>,
    /// Value for a key of another namespace (`aws:region: eu-west-1`).
    pub value: Option<Value>,
    /// The value must be stored encrypted.
    pub secret: bool,
    /// Where the key stands.
    pub span: Span,
}

impl Project {
    /// Why this engine may not run the project: `requiredPulumiVersion` is no range, or leaves
    /// [`version::ENGINE`] out.
    pub fn check_required_version(&self) -> Result<(), Box<Diagnostic>> {
        match &self.required_version {
            Some((range, span)) => {
                version::check("requiredPulumiVersion", range, &self.file, *span)
            }
            None => Ok(()),
        }
    }
}

/// The project file of `start` or the nearest folder above it.
pub fn find_project(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .flat_map(|folder| PROJECT_FILES.map(|name| folder.join(name)))
        .find(|path| path.is_file())
}

/// Reads and parses the project file at `path`.
pub fn load_project(path: &Path) -> (Option<Project>, Vec<Diagnostic>) {
    let shown = path.file_name().unwrap_or(path.as_os_str());
    match load_source(path, &shown.to_string_lossy()) {
        Ok(file) => {
            let root = path.parent().unwrap_or(Path::new(".")).to_path_buf();
            parse_project(&file, root)
        }
        Err(diagnostic) => (None, vec![*diagnostic]),
    }
}

/// Reads a file as text. `shown` is its name in diagnostics.
pub fn load_source(path: &Path, shown: &str) -> Result<Arc<SourceFile>, Box<Diagnostic>> {
    let bytes = fs_err::read(path).map_err(|error| {
        let message = format!("cannot read `{shown}`");
        Box::new(Diagnostic::error(FILE_UNREADABLE, message).caused_by(&error))
    })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile::new(shown, text)),
        Err(_) => Err(Box::new(
            Diagnostic::error(FILE_UNREADABLE, format!("`{shown}` is not UTF-8 text"))
                .hint(format!("save `{shown}` as UTF-8")),
        )),
    }
}

/// Parses a project file. The project is `None` when the name or the runtime is missing. For the
/// runtime `yaml`, mistakes that the program's parser reports too are left to it.
pub fn parse_project(file: &Arc<SourceFile>, root: PathBuf) -> (Option<Project>, Vec<Diagnostic>) {
    let (tree, found) = parse_map(file);
    let mut report = Report::new(file);
    report.found = found;
    let Some(entries) = tree.as_ref().and_then(Node::as_map) else {
        return (None, report.found);
    };
    let owner = "the project file";
    let fields = read_fields(
        &mut report,
        entries,
        PROJECT_FIELDS,
        owner,
        Unknown::WarnNear,
    );
    let shared = report.found.len();
    let text = |name: &'static str, report: &mut Report| {
        let node = fields.get(name)?;
        report.string(name, node)
    };
    let name = text("name", &mut report);
    let description = text("description", &mut report);
    let main = text("main", &mut report);
    let stack_config_dir = text("stackConfigDir", &mut report);
    let required_version = text("requiredPulumiVersion", &mut report)
        .zip(fields.get("requiredPulumiVersion").map(|n| n.span));
    let runtime = fields
        .get("runtime")
        .and_then(|n| read_runtime(&mut report, n));
    let backend_url = fields
        .get("backend")
        .and_then(|n| read_backend(&mut report, n));
    let config = fields
        .get("config")
        .map(|n| read_config(&mut report, n))
        .unwrap_or_default();
    for field in ["name", "runtime"] {
        if fields.get(field).is_none() {
            let example = if field == "name" {
                "name: my-project"
            } else {
                "runtime: yaml"
            };
            report
                .error(
                    MISSING_FIELD,
                    Span::default(),
                    format!("the project has no `{field}`"),
                )
                .hints
                .push(format!("add `{example}`"));
        }
    }
    let project = name.zip(runtime).map(|(name, runtime)| Project {
        file: Arc::clone(file),
        root,
        name,
        name_span: fields.get("name").map(|n| n.span).unwrap_or_default(),
        runtime,
        description,
        main,
        config,
        backend_url,
        stack_config_dir,
        required_version,
    });
    if project.as_ref().is_some_and(|p| p.runtime.name == "yaml") {
        // The file is also the program, whose parser says the same again about syntax and fields.
        report.found.drain(..shared);
    }
    (project, report.found)
}

fn read_runtime(report: &mut Report, node: &Node<'_>) -> Option<Runtime> {
    let Some(entries) = node.as_map() else {
        let name = report.string("runtime", node)?;
        return Some(Runtime {
            name,
            options: BTreeMap::new(),
            span: node.span,
        });
    };
    let known = &["name", "options"];
    let fields = read_fields(report, entries, known, "`runtime`", Unknown::Warn);
    let Some(name) = fields.get("name") else {
        report.error(MISSING_FIELD, node.span, "`runtime` has no `name`");
        return None;
    };
    let options = match fields.get("options").map(to_value) {
        Some(Value::Map(options)) => options,
        _ => BTreeMap::new(),
    };
    Some(Runtime {
        name: report.string("runtime.name", name)?,
        options,
        span: name.span,
    })
}

fn read_backend(report: &mut Report, node: &Node<'_>) -> Option<String> {
    let Some(entries) = node.as_map() else {
        report.wrong_kind("backend", "a map", node);
        return None;
    };
    let fields = read_fields(report, entries, &["url"], "`backend`", Unknown::Warn);
    report.string("backend.url", fields.get("url")?)
}

fn read_config(report: &mut Report, node: &Node<'_>) -> BTreeMap<String, ConfigDeclaration> {
    let Some(entries) = node.as_map() else {
        if node.kind != Kind::Null {
            report.wrong_kind("config", "a map", node);
        }
        return BTreeMap::new();
    };
    let mut config = BTreeMap::new();
    for (key, value) in entries {
        let Some(name) = key.as_str() else { continue };
        let declaration = read_declaration(report, name, key.span, value);
        config.insert(name.to_owned(), declaration);
    }
    config
}

/// Fields of one config entry.
pub const CONFIG_FIELDS: &[&str] = &[
    "type",
    "default",
    "value",
    "secret",
    "items",
    "name",
    "description",
];

fn read_declaration(
    report: &mut Report,
    name: &str,
    span: Span,
    node: &Node<'_>,
) -> ConfigDeclaration {
    let mut declaration = ConfigDeclaration {
        kind: None,
        description: None,
        default: None,
        value: None,
        secret: false,
        span,
    };
    let Some(entries) = node.as_map() else {
        // A bare value: the default of an own key, the value of a foreign one.
        if name.contains(':') {
            declaration.value = Some(to_value(node));
        } else {
            declaration.default = Some(to_value(node));
        }
        return declaration;
    };
    // Spelling and unknown fields are the YAML program's to report where it is one; here they
    // would be said twice. Only what has no meaning at all is an error.
    let get = |field: &str| {
        let same = |k: &Node<'_>| k.as_str().is_some_and(|k| k.eq_ignore_ascii_case(field));
        entries.iter().find(|(k, _)| same(k)).map(|(_, v)| v)
    };
    declaration.kind = get("type").and_then(Node::as_str).map(str::to_owned);
    declaration.description = get("description").and_then(Node::as_str).map(str::to_owned);
    declaration.default = get("default").map(to_value);
    declaration.value = get("value").map(to_value);
    declaration.secret = matches!(get("secret").map(|n| &n.kind), Some(Kind::Bool(true)));
    if let (Some(_), Some(node)) = (&declaration.default, get("value")) {
        report.error(
            WRONG_KIND,
            node.span,
            format!("config `{name}` has both `default` and `value`, expected one"),
        );
    }
    declaration
}

/// A node as a plain value; refused parts are null.
pub fn to_value(node: &Node<'_>) -> Value {
    match &node.kind {
        Kind::Null | Kind::Refused => Value::Null,
        Kind::Bool(value) => Value::Bool(*value),
        Kind::Number(value) => Value::Number(*value),
        Kind::String(text) => Value::String(text.to_string()),
        Kind::List(items) => Value::List(items.iter().map(to_value).collect()),
        Kind::Map(entries) => Value::Map(
            entries
                .iter()
                .filter_map(|(k, v)| Some((k.as_str()?.to_owned(), to_value(v))))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests;
