//! `lockgate new`: a project folder from a template inside the binary.

use std::path::Path;

use crate::cli::{New, Template};
use crate::failure::{CommandError, usage};
use crate::printer::Printer;

/// A template: files by name. The `hello` template is the example itself, so the two cannot part.
const HELLO: &[(&str, &str)] = &[
    (
        "Pulumi.yaml",
        include_str!("../../../../examples/hello/Pulumi.yaml"),
    ),
    (
        "Dockerfile",
        include_str!("../../../../examples/hello/Dockerfile"),
    ),
    (
        "main.rs",
        include_str!("../../../../examples/hello/main.rs"),
    ),
];

const YAML: &[(&str, &str)] = &[(
    "Pulumi.yaml",
    include_str!("../../templates/yaml/Pulumi.yaml"),
)];

/// Makes the folder. Refused when it holds anything.
pub(crate) fn run(args: &New, folder: &Path, printer: &Printer) -> Result<(), CommandError> {
    let target = folder.join(&args.folder);
    let own_name = target.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = args.name.clone().or(own_name).unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(fits) {
        return Err(usage(
            format!("`{name}` cannot name a project: letters, digits, `-`, `_` and `.` can"),
            "give another name with `--name`",
        ));
    }
    if target.is_dir() && fs_err::read_dir(&target)?.next().is_some() {
        return Err(usage(
            format!("`{}` is not empty", target.display()),
            "name a folder that does not exist yet",
        ));
    }
    fs_err::create_dir_all(&target)?;
    let files = match args.template {
        Template::Hello => HELLO,
        Template::Yaml => YAML,
    };
    for (file, text) in files {
        let text = if *file == "Pulumi.yaml" {
            rename(text, &name)
        } else {
            (*text).to_owned()
        };
        fs_err::write(target.join(file), text)?;
    }
    printer.say(&format!("made `{}`", target.display()));
    printer.say(&format!(
        "next: lockgate up --cwd {}",
        args.folder.display()
    ));
    Ok(())
}

/// Replaces the value of the `name:` line, which every template has first.
fn rename(text: &str, name: &str) -> String {
    match text.split_once('\n') {
        Some((_, rest)) => format!("name: {name}\n{rest}"),
        None => text.to_owned(),
    }
}
