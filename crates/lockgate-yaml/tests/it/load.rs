//! From a project folder to a source.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lockgate_config::load_project;
use lockgate_engine::Providers;
use lockgate_yaml::{Loaded, load};

use crate::fake::FakeProviders;

fn load_files(files: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let folder = tempfile::tempdir().expect("temp folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("folder");
        fs_err::write(path, text).expect("file");
    }
    let (project, found) = load_project(&folder.path().join("Pulumi.yaml"));
    assert_eq!(found, [], "the project file");
    let project = project.expect("a project");
    let providers: Arc<dyn Providers> = Arc::new(FakeProviders::default());
    load(
        folder.path(),
        &project,
        "dev",
        BTreeMap::new(),
        &providers,
        "organization",
    )
    .map_err(|found| {
        found
            .into_iter()
            .map(|d| format!("{}: {}", d.labels[0].file.path, d.message))
            .collect()
    })
}

const PROJECT: &str = "name: shop\nruntime: yaml\n";
const WEB: &str = "resources:\n  web: {type: \"fake:Web\"}\n";

#[test]
fn the_program_is_in_main_or_in_the_project_file() {
    let own = format!("{PROJECT}{WEB}");
    let loaded = load_files(&[("Pulumi.yaml", &own)]).map_err(|e| e.join("\n"));
    assert_eq!(loaded.map(|l| l.source.resource_count()), Ok(1));
    let files = [
        (
            "Pulumi.yaml",
            "name: shop\nruntime: yaml\nmain: app\nconfig:\n  size: 3\n",
        ),
        (
            "app/Main.yaml",
            "resources:\n  a: {type: \"fake:Web\", properties: {size: \"${size}\"}}\n  b: {type: \"fake:Web\"}\n",
        ),
    ];
    let loaded = load_files(&files).map_err(|e| e.join("\n"));
    assert_eq!(loaded.map(|l| l.source.resource_count()), Ok(2));
    let json = r#"{"resources": {"a": {"type": "fake:Web"}}}"#;
    let loaded =
        load_files(&[("Pulumi.yaml", PROJECT), ("Main.json", json)]).map_err(|e| e.join("\n"));
    assert_eq!(loaded.map(|l| l.source.resource_count()), Ok(1));
}

#[test]
fn mistakes_of_both_files_come_once_and_in_order() {
    let files = [
        (
            "Pulumi.yaml",
            "name: shop\nruntime: yaml\nresorces: {}\nconfig:\n  a: {type: string}\n  a: 3\n",
        ),
        (
            "Main.yaml",
            "variables:\n  x: ${y}\nresources:\n  a: {type: \"fake:Web\"}\n",
        ),
    ];
    assert_eq!(
        load_files(&files).map(|l| l.source.resource_count()),
        Err([
            "Main.yaml: no resource, variable or config value is named `y`",
            "Pulumi.yaml: the program has no field `resorces`",
            "Pulumi.yaml: `a` is already the name of a resource",
            "Pulumi.yaml: config `a` is not set and has no default",
            "Pulumi.yaml: key `a` is set twice",
            "Pulumi.yaml: `a` is already the name of a resource",
        ]
        .map(str::to_owned)
        .to_vec())
    );
}

#[test]
fn warnings_do_not_stop_a_program() {
    let text = format!("{PROJECT}resources:\n  web: {{Type: \"fake:Web\"}}\n");
    let loaded = load_files(&[("Pulumi.yaml", &text)]).map_err(|e| e.join("\n"));
    let warnings = loaded.map(|l| {
        l.warnings
            .iter()
            .map(|d| d.message.clone())
            .collect::<Vec<_>>()
    });
    assert_eq!(warnings, Ok(vec!["`Type` is spelled `type`".to_owned()]));
}

#[test]
fn a_compiler_and_a_missing_folder_are_refused() {
    let compiler = "name: shop\nruntime:\n  name: yaml\n  options: {compiler: cue}\n";
    assert_eq!(
        load_files(&[("Pulumi.yaml", compiler)]).err(),
        Some(vec![
            "Pulumi.yaml: `runtime.options.compiler` is not supported".to_owned()
        ])
    );
}
