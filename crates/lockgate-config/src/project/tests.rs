//! Project files: what is read and what is refused.

use std::path::PathBuf;

use lockgate_diag::SourceFile;
use lockgate_model::Value;

use super::{find_project, parse_project};

#[test]
fn a_project_is_read_with_its_runtime_options_and_config() {
    let text = "name: shop\nruntime:\n  name: python\n  options:\n    virtualenv: venv\nmain: app\n\
                backend:\n  url: file://state\nconfig:\n  size: 3\n  aws:region: eu\n  \
                key:\n    type: string\n    secret: true\n";
    let file = SourceFile::new("Pulumi.yaml", text);
    let (project, found) = parse_project(&file, PathBuf::from("/p"));
    assert_eq!(found, []);
    let project = project.expect("valid");
    assert_eq!(project.name, "shop");
    assert_eq!(project.runtime.name, "python");
    assert_eq!(project.runtime.options["virtualenv"], Value::from("venv"));
    assert_eq!(project.backend_url.as_deref(), Some("file://state"));
    assert_eq!(project.config["size"].default, Some(Value::Number(3.0)));
    assert_eq!(project.config["aws:region"].value, Some(Value::from("eu")));
    assert!(project.config["key"].secret);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let file = SourceFile::new("Pulumi.yaml", "nmae: shop\nmain: 3\nbackend: x\n");
    let (project, found) = parse_project(&file, PathBuf::from("/p"));
    assert!(project.is_none());
    let messages: Vec<_> = found.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the project file has no field `nmae`",
            "`main` must be a string, found a number",
            "`backend` must be a map, found a string",
            "the project has no `name`",
            "the project has no `runtime`",
        ]
    );
}

#[test]
fn the_nearest_project_above_is_found() {
    let folder = tempfile::tempdir().expect("temp folder");
    let deep = folder.path().join("a/b");
    fs_err::create_dir_all(&deep).expect("folders");
    fs_err::write(folder.path().join("Pulumi.yaml"), "name: x\n").expect("file");
    assert_eq!(find_project(&deep), Some(folder.path().join("Pulumi.yaml")));
}
