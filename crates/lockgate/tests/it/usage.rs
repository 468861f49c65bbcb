//! Wrong use: a clear error, exit 2, nothing touched.

use anyhow::Result;

use crate::support::world;

/// Runs `args` on `program`, expects exit 2 and these texts in what is said.
fn refused(program: &str, args: &[&str], expected: &[&str]) -> Result<()> {
    let world = world(program)?;
    let output = world.run(args)?.expect(2)?;
    for text in expected {
        assert!(
            output.talk.contains(text),
            "expected {text:?} in:\n{}",
            output.talk
        );
    }
    assert!(
        output.data.is_empty(),
        "data in spite of the error: {}",
        output.data
    );
    assert!(!world.home().join("node").exists(), "a node was started");
    Ok(())
}

#[test]
fn an_unknown_resource_type_is_named_with_its_place() -> Result<()> {
    refused(
        "name: x\nruntime: yaml\nresources:\n  pet:\n    type: random:RandomPett\n",
        &["up", "--yes"],
        &["RandomPett", "Pulumi.yaml:5:11", "RandomPet"],
    )
}

#[test]
fn an_unknown_property_is_named_with_a_near_one() -> Result<()> {
    refused(
        "name: x\nruntime: yaml\nresources:\n  s:\n    type: random:RandomString\n    properties:\n      lenght: 8\n",
        &["preview"],
        &["lenght", "did you mean", "length", "Pulumi.yaml:7:7"],
    )
}

#[test]
fn a_cycle_is_shown_with_both_references() -> Result<()> {
    refused(
        "name: x\nruntime: yaml\nvariables:\n  a: ${b}\n  b: ${a}\n",
        &["preview"],
        &["LG0210", "`a`", "`b`"],
    )
}

#[test]
fn all_mistakes_of_a_program_come_in_one_run() -> Result<()> {
    refused(
        "name: x\nruntime: yaml\nresources:\n  a:\n    type: random:RandomPet\n    properties:\n      prefix: ${nope}\n  b:\n    properties: {}\n",
        &["up", "--yes"],
        &["LG0208", "LG0212"],
    )
}

#[test]
fn missing_config_says_how_to_set_it() -> Result<()> {
    refused(
        "name: x\nruntime: yaml\nconfig:\n  size:\n    type: integer\noutputs:\n  s: ${size}\n",
        &["preview"],
        &["size", "lockgate config set"],
    )
}

#[test]
fn a_folder_without_a_project_says_how_to_make_one() -> Result<()> {
    let world = lockgate_testkit::World::new(crate::support::exe())?;
    let output = world.run(&["up", "--yes"])?.expect(2)?;
    assert!(output.talk.contains("lockgate new"), "{}", output.talk);
    Ok(())
}

#[test]
fn an_unknown_command_is_a_usage_error_and_help_is_not() -> Result<()> {
    let world = lockgate_testkit::World::new(crate::support::exe())?;
    assert!(world.run(&["upp"])?.expect(2)?.talk.contains("up"));
    assert!(world.run(&["--help"])?.expect(0)?.data.contains("preview"));
    let version = world.run(&["version", "--json"])?.expect(0)?.json()?;
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}

#[test]
fn nobody_is_asked_without_a_terminal() -> Result<()> {
    refused("name: x\nruntime: yaml\n", &["up"], &["--yes"])
}

#[test]
fn odd_stack_names_are_refused_before_anything_is_made() -> Result<()> {
    for name in ["a/../b c", "ü", "", "a:b"] {
        let world = world("name: x\nruntime: yaml\n")?;
        let output = world.run(&["stack", "init", name])?;
        assert_ne!(output.code, Some(0), "{name:?} was taken");
        assert!(output.talk.contains("error["), "{}", output.talk);
        assert_eq!(
            world.run(&["stack", "ls", "--json"])?.expect(0)?.json()?,
            serde_json::json!([])
        );
    }
    Ok(())
}

#[test]
fn codes_have_pages() -> Result<()> {
    let world = lockgate_testkit::World::new(crate::support::exe())?;
    let page = world.run(&["explain", "lg0208"])?.expect(0)?;
    assert!(page.data.starts_with("LG0208: "), "{}", page.data);
    assert!(
        world
            .run(&["explain", "LG0298"])?
            .expect(2)?
            .talk
            .contains("hint")
    );
    Ok(())
}

#[test]
fn new_projects_preview_and_full_folders_are_left_alone() -> Result<()> {
    let world = lockgate_testkit::World::new(crate::support::exe())?;
    for (template, named) in [
        ("yaml", "random:index/randomPet:RandomPet"),
        ("hello", "compile"),
    ] {
        world.run(&["new", template, template])?.expect(0)?;
        let preview = world.run(&["preview", "--cwd", template])?.expect(0)?;
        assert!(preview.talk.contains(named), "{}", preview.talk);
    }
    world.write("full/notes.txt", "mine")?;
    let refused = world.run(&["new", "hello", "full"])?.expect(2)?;
    assert!(refused.talk.contains("not empty"), "{}", refused.talk);
    assert!(!world.project().join("full/Pulumi.yaml").exists());
    world.run(&["new", "yaml", "odd name"])?.expect(2)?;
    Ok(())
}

#[test]
fn shells_get_completions_and_machines_a_doctor() -> Result<()> {
    let world = lockgate_testkit::World::new(crate::support::exe())?;
    for (shell, mark) in [
        ("bash", "_lockgate"),
        ("zsh", "#compdef lockgate"),
        ("fish", "complete"),
    ] {
        let script = world.run(&["completion", shell])?.expect(0)?.data;
        assert!(script.contains(mark), "{shell}: {script}");
    }
    let report = world.run(&["doctor", "--json"])?.expect(0)?.json()?;
    let sandbox = &report["checks"][0];
    assert_eq!(sandbox["name"], "sandbox");
    assert_eq!(sandbox["verdict"], "good", "{sandbox}");
    Ok(())
}
