//! Programs in Python and Node.js through their unmodified SDKs.

mod compatibility;
mod descriptors;
mod nodejs;
mod outstanding;
mod python;
mod references;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::example::{self, GreetingReport};
use lockgate_testkit::languages::{self, Language};
use lockgate_testkit::{Output, World};

use crate::support::{example as folder, exe, steps};

/// A world with a program in one file and the packages of its language.
pub(crate) fn program(language: Language, text: &str) -> Result<World> {
    let mut world = World::new(exe())?;
    languages::link(exe(), &mut world, language)?;
    let (runtime, file) = match language {
        Language::Python | Language::OldPython => ("python", "__main__.py"),
        Language::Nodejs | Language::Nodejs22 => ("nodejs", "index.ts"),
    };
    world.write("Pulumi.yaml", &format!("name: x\nruntime: {runtime}\n"))?;
    if runtime == "nodejs" {
        world.write("package.json", "{\"name\": \"x\", \"main\": \"index.ts\"}")?;
    }
    world.write(file, text)?;
    Ok(world)
}

/// Runs a program that must fail with an exit code and a reason, and checks that it lost nothing
/// of the stack.
fn fails_without_deletes(
    world: &World,
    (file, text): (&str, &str),
    (code, reason): (i32, &str),
) -> Result<Output> {
    let before = managed(world)?;
    world.write(file, text)?;
    let failed = world.run(&["up", "--yes", "--allow-deletes"])?;
    ensure!(
        failed.code == Some(code),
        "{:?}\n{}",
        failed.code,
        failed.talk
    );
    ensure!(
        failed.talk.contains(reason),
        "no {reason:?}: {}",
        failed.talk
    );
    let after = managed(world)?;
    for name in &before {
        ensure!(
            after.contains(name),
            "`{name}` was lost by:\n{text}\n{}",
            failed.talk
        );
    }
    Ok(failed)
}

/// The names of the managed resources in the state, sorted.
fn managed(world: &World) -> Result<Vec<String>> {
    let state = world.run(&["stack", "export"])?.expect(0)?.json()?;
    let resources = state["deployment"]["resources"].as_array();
    let mut names: Vec<String> = resources
        .context("a state has resources")?
        .iter()
        .filter_map(|resource| resource["urn"].as_str())
        .filter(|urn| !urn.contains("pulumi:providers:") && !urn.contains("pulumi:pulumi:Stack"))
        .filter_map(|urn| Some(urn.rsplit("::").next()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn check_greeting(report: &GreetingReport) {
    let GreetingReport {
        outputs, masked, ..
    } = report;
    assert_eq!(outputs["token"], "NOT-A-REAL-TOKEN");
    assert!(
        outputs["text"]
            .as_str()
            .is_some_and(|t| t.starts_with("hello, "))
    );
    assert_eq!(outputs["text"], outputs["written"]);
    assert!(
        masked["text"]
            .as_str()
            .is_some_and(|t| t.starts_with("good day, ")),
        "{masked}"
    );
    let password = outputs["password"].as_str().expect("a password");
    let shown = format!("{masked} {} {}", report.first.talk, report.changed.talk);
    assert!(!shown.contains(password), "the password was shown");
    assert!(!shown.contains("NOT-A-REAL-TOKEN"), "the token was shown");
    assert!(
        report.no_op.talk.contains("no changes"),
        "{}",
        report.no_op.talk
    );
    assert!(
        report.changed.talk.contains(" file  "),
        "{}",
        report.changed.talk
    );
    assert!(
        !report.changed.talk.contains(" pet  "),
        "{}",
        report.changed.talk
    );
}

#[test]
fn the_python_example_goes_through_its_whole_life() -> Result<()> {
    check_greeting(&example::greeting(
        exe(),
        &folder("python"),
        Language::Python,
    )?);
    Ok(())
}

#[test]
fn an_sdk_of_2023_runs_the_same_program() -> Result<()> {
    let report = example::greeting(exe(), &folder("python"), Language::OldPython)?;
    check_greeting(&report);
    Ok(())
}

#[test]
fn the_typescript_example_goes_through_its_whole_life() -> Result<()> {
    check_greeting(&example::greeting(
        exe(),
        &folder("typescript"),
        Language::Nodejs,
    )?);
    Ok(())
}

#[test]
fn missing_packages_are_named_with_the_command_that_brings_them() -> Result<()> {
    for (name, missing) in [("python", "venv"), ("typescript", "@pulumi/pulumi")] {
        let world = World::with_project(exe(), &folder(name))?;
        let failed = world.run(&["preview"])?.expect(2)?;
        assert!(failed.talk.contains(missing), "{}", failed.talk);
        assert!(
            failed.talk.contains("run `lockgate install`"),
            "{}",
            failed.talk
        );
    }
    Ok(())
}

#[test]
fn config_without_value_or_default_is_named_before_the_program_starts() -> Result<()> {
    let world = program(Language::Python, "raise Exception('was started')\n")?;
    let project = "name: x\nruntime: python\nconfig:\n  size:\n    type: integer\n";
    world.write("Pulumi.yaml", project)?;
    let failed = world.run(&["preview"])?.expect(2)?;
    assert!(
        failed.talk.contains("config `size` has neither"),
        "{}",
        failed.talk
    );
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    world.run(&["config", "set", "size", "3"])?.expect(0)?;
    let started = world.run(&["preview"])?.expect(1)?;
    assert!(started.talk.contains("was started"), "{}", started.talk);
    Ok(())
}
