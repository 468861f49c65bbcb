//! From a project folder to a source: which files, and all mistakes in the order of the text.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lockgate_config::Project;
use lockgate_config::project::load_source;
use lockgate_diag::codes::program::YAML_UNSUPPORTED;
use lockgate_diag::codes::settings::FILE_UNREADABLE;
use lockgate_diag::{Diagnostic, SourceFile};
use lockgate_engine::Providers;
use lockgate_model::Value;

use crate::check::{Context, check};
use crate::files::ProjectFiles;
use crate::program::Program;
use crate::source::YamlSource;

/// Files that hold the program when they exist; else it is in the project file.
const MAIN_FILES: [&str; 2] = ["Main.json", "Main.yaml"];

/// A program that may run, and what should be looked at.
pub struct Loaded {
    /// The program.
    pub source: YamlSource,
    /// Warnings, in the order of the text.
    pub warnings: Vec<Diagnostic>,
}

/// Loads, parses and checks the YAML program of a project.
///
/// `config` is the stack config by full key, secrets wrapped. `Err` holds errors and warnings in
/// the order of the text; at least one is an error, and nothing was registered.
pub fn load(
    project_dir: &Path,
    project: &Project,
    stack: &str,
    config: BTreeMap<String, Value>,
    providers: &Arc<dyn Providers>,
    organization: &str,
) -> Result<Loaded, Vec<Diagnostic>> {
    if project.runtime.options.contains_key("compiler") {
        let message = "`runtime.options.compiler` is not supported";
        let diagnostic = Diagnostic::error(YAML_UNSUPPORTED, message)
            .at(&project.file, project.runtime.span, "")
            .hint("run the compiler yourself and write its output to `Main.yaml`");
        return Err(vec![diagnostic]);
    }
    let folder = project_dir.join(project.main.as_deref().unwrap_or_default());
    let files = find_files(&folder, project).map_err(|diagnostic| vec![*diagnostic])?;
    let (program, mut found) = Program::parse(&files);
    let Some(program) = program else {
        return Err(sorted(found, &files));
    };
    let context = Context {
        project: project.name.clone(),
        stack: stack.to_owned(),
        organization: organization.to_owned(),
        cwd: absolute(&folder),
        root: absolute(project_dir),
        config,
    };
    let (checked, more) = check(program, providers.as_ref(), context);
    found.extend(more);
    let found = sorted(found, &files);
    match checked {
        Some(checked) if !found.iter().any(Diagnostic::is_error) => Ok(Loaded {
            source: YamlSource::new(checked, Arc::new(ProjectFiles { root: folder })),
            warnings: found,
        }),
        _ => Err(found),
    }
}

fn find_files(folder: &Path, project: &Project) -> Result<Vec<Arc<SourceFile>>, Box<Diagnostic>> {
    if !folder.is_dir() {
        let message = format!("the program folder `{}` does not exist", folder.display());
        let diagnostic = Diagnostic::error(FILE_UNREADABLE, message);
        return Err(Box::new(
            diagnostic.hint("correct `main` in the project file"),
        ));
    }
    for name in MAIN_FILES {
        let path = folder.join(name);
        if path.is_file() {
            // The project file still declares config.
            return Ok(vec![load_source(&path, name)?, Arc::clone(&project.file)]);
        }
    }
    Ok(vec![Arc::clone(&project.file)])
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_path_buf())
        .display()
        .to_string()
}

/// By file, then by place.
fn sorted(mut found: Vec<Diagnostic>, files: &[Arc<SourceFile>]) -> Vec<Diagnostic> {
    found.sort_by_key(|diagnostic| {
        diagnostic.labels.first().map(|label| {
            let file = files.iter().position(|f| Arc::ptr_eq(f, &label.file));
            (file, label.span.start)
        })
    });
    found
}
