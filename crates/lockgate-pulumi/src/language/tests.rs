//! Discovery and installation, on folders made for the purpose.

use std::path::Path;

use lockgate_model::Value;

use super::{Language, Place, RuntimeOptions, Toolchain, install};

fn options(pairs: &[(&str, &str)]) -> RuntimeOptions {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .collect()
}

#[test]
fn main_may_be_a_folder_or_a_file() {
    let dir = tempfile::tempdir().expect("temporary folder");
    fs_err::create_dir_all(dir.path().join("infra")).expect("folder");
    fs_err::write(dir.path().join("infra/app.py"), "").expect("file");
    for (main, folder, entry) in [
        (None, "", "."),
        (Some("infra"), "infra", "."),
        (Some("infra/"), "infra", "."),
        (Some("infra/app.py"), "infra", "app.py"),
    ] {
        let place = Place::new(dir.path(), main);
        let expected: std::path::PathBuf = dir.path().join(folder).components().collect();
        assert_eq!((place.folder, place.entry.as_str()), (expected, entry));
    }
}

#[test]
fn what_is_missing_is_named_with_the_command_that_brings_it() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let place = Place::new(dir.path(), None);
    let venv = options(&[("virtualenv", "venv")]);
    let none = options(&[]);
    for (language, options) in [(Language::Python, &venv), (Language::Nodejs, &none)] {
        let error = Toolchain::find(language, &place, options).expect_err("nothing there");
        assert_eq!(error.hints, ["run `lockgate install`"], "{error:?}");
    }
}

#[test]
fn an_installation_makes_the_environment_once_and_then_only_fills_it() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let plan = || install(Language::Python, dir.path(), None, &options(&[]));
    let error = plan().expect_err("no requirements");
    assert!(error.message.contains("requirements.txt"), "{error:?}");
    fs_err::write(dir.path().join("requirements.txt"), "pulumi\n").expect("file");
    let programs = || -> Vec<String> {
        let steps = plan().expect("a plan");
        steps.iter().map(|step| step.argv[0].clone()).collect()
    };
    let python = dir.path().join("venv/bin/python");
    let python_text = python.to_string_lossy().into_owned();
    assert_eq!(programs(), ["python3".to_owned(), python_text.clone()]);
    fs_err::create_dir_all(python.parent().expect("has one")).expect("folder");
    fs_err::write(&python, "").expect("file");
    assert_eq!(programs(), [python_text]);
}

#[test]
fn packages_are_installed_where_the_nearest_list_of_them_is() {
    let dir = tempfile::tempdir().expect("temporary folder");
    fs_err::create_dir_all(dir.path().join("infra")).expect("folder");
    fs_err::write(dir.path().join("package.json"), "{}").expect("file");
    let steps = |packagemanager: &str| {
        let options = options(&[("packagemanager", packagemanager)]);
        install(Language::Nodejs, dir.path(), Some("infra"), &options)
    };
    let step = &steps("npm").expect("a plan")[0];
    assert_eq!(step.folder.as_path(), dir.path() as &Path);
    assert!(steps("left-pad").is_err());
}
