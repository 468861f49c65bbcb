//! Stacks, config, history, export and import.

use anyhow::Result;

use crate::support::{steps, world};

const PET: &str = "name: pets\nruntime: yaml\nresources:\n  pet:\n    type: random:RandomPet\n    properties:\n      length: 2\noutputs:\n  name: ${pet.id}\n";

#[test]
fn a_second_up_changes_nothing_and_an_edit_changes_what_was_edited() -> Result<()> {
    let world = world(PET)?;
    let first = world.run(&["up", "--yes", "--json"])?.expect(0)?;
    // The preview and the run both report their steps.
    assert!(
        steps(&first)?.contains(&"create pet".to_owned()),
        "{}",
        first.data
    );
    let name = world.run(&["stack", "output", "name"])?.expect(0)?.data;
    assert!(
        world
            .run(&["up", "--yes"])?
            .expect(0)?
            .talk
            .contains("no changes")
    );
    assert_eq!(
        world.run(&["stack", "output", "name"])?.expect(0)?.data,
        name
    );
    world.write("Pulumi.yaml", &PET.replace("length: 2", "length: 3"))?;
    let preview = world.run(&["preview"])?.expect(0)?;
    assert!(preview.talk.contains("length: 2 => 3"), "{}", preview.talk);
    world.run(&["preview", "--exit-code"])?.expect(3)?;
    world
        .run(&["up", "--yes", "--expect-no-changes"])?
        .expect(1)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    assert_ne!(
        world.run(&["stack", "output", "name"])?.expect(0)?.data,
        name
    );
    Ok(())
}

#[test]
fn stacks_are_made_selected_listed_and_removed() -> Result<()> {
    let world = world(PET)?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    world.run(&["stack", "init", "prod"])?.expect(0)?;
    world.run(&["stack", "init", "prod"])?.expect(2)?;
    let listed = world.run(&["stack", "ls", "--json"])?.expect(0)?.json()?;
    let names: Vec<_> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|s| &s["name"])
        .collect();
    assert_eq!(names, ["dev", "prod"]);
    assert_eq!(listed[1]["current"], true);
    world.run(&["stack", "select", "dev"])?.expect(0)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let refused = world.run(&["stack", "rm", "dev"])?;
    assert_ne!(refused.code, Some(0), "a stack with resources was removed");
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.run(&["stack", "rm", "dev"])?.expect(0)?;
    let typo = world.run(&["stack", "select", "prd"])?.expect(2)?;
    assert!(typo.talk.contains("did you mean `prod`"), "{}", typo.talk);
    Ok(())
}

#[test]
fn preview_touches_nothing() -> Result<()> {
    let world = world(PET)?;
    world.run(&["preview"])?.expect(0)?;
    assert_eq!(
        world.run(&["stack", "ls", "--json"])?.expect(0)?.json()?,
        serde_json::json!([])
    );
    assert!(!world.home().join("node").exists());
    Ok(())
}

#[test]
fn config_keeps_comments_and_encrypts_secrets() -> Result<()> {
    let program = "name: conf\nruntime: yaml\nconfig:\n  color:\n    type: string\n    default: blue\n  pin:\n    type: string\n    secret: true\noutputs:\n  color: ${color}\n  pin: ${pin}\n";
    let world = world(program)?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    world.write(
        "Pulumi.dev.yaml",
        "# ours\nconfig:\n  conf:color: red # why\n",
    )?;
    world
        .run(&["config", "set", "--secret", "pin", "canary-4711"])?
        .expect(0)?;
    world.run(&["config", "set", "other:key", "x"])?.expect(0)?;
    let file = fs_err::read_to_string(world.project().join("Pulumi.dev.yaml"))?;
    assert!(
        file.starts_with("# ours\nconfig:\n  conf:color: red # why\n"),
        "{file}"
    );
    assert!(file.contains("secure: v1:"), "{file}");
    assert_eq!(
        world.run(&["config", "get", "pin"])?.expect(0)?.data,
        "canary-4711\n"
    );
    world.run(&["up", "--yes"])?.expect(0)?;
    let outputs = world
        .run(&["stack", "output", "--json"])?
        .expect(0)?
        .json()?;
    assert_eq!(outputs["color"], "red");
    assert_eq!(outputs["pin"], "[secret]");
    world.run(&["config", "rm", "other:key"])?.expect(0)?;
    assert_eq!(
        world.files_with("canary-4711")?,
        Vec::<std::path::PathBuf>::new()
    );
    Ok(())
}

#[test]
fn history_tells_the_runs_newest_first() -> Result<()> {
    let world = world(PET)?;
    world.run(&["up", "--yes", "-m", "first"])?.expect(0)?;
    world
        .run(&["destroy", "--yes", "-m", "second"])?
        .expect(0)?;
    let rows = world
        .run(&["stack", "history", "--json"])?
        .expect(0)?
        .json()?;
    assert_eq!(rows[0]["message"], "second");
    assert_eq!(rows[0]["kind"], "destroy");
    assert_eq!(rows[1]["resourceChanges"]["create"], 2);
    assert_eq!(rows[1]["result"], "succeeded");
    Ok(())
}

#[test]
fn an_exported_state_can_be_imported_elsewhere() -> Result<()> {
    let there = world(PET)?;
    there.run(&["up", "--yes"])?.expect(0)?;
    let name = there.run(&["stack", "output", "name"])?.expect(0)?.data;
    let state = there
        .run(&["stack", "export", "--show-secrets"])?
        .expect(0)?
        .data;
    let here = world(PET)?;
    here.run(&["stack", "init", "dev"])?.expect(0)?;
    here.write("state.json", &state)?;
    here.run(&["stack", "import", "--file", "state.json"])?
        .expect(0)?;
    assert!(
        here.run(&["up", "--yes"])?
            .expect(0)?
            .talk
            .contains("no changes")
    );
    assert_eq!(
        here.run(&["stack", "output", "name"])?.expect(0)?.data,
        name
    );
    let torn = &state[..state.len() / 2];
    here.write("torn.json", torn)?;
    let refused = here.run(&["stack", "import", "--file", "torn.json"])?;
    assert_ne!(refused.code, Some(0));
    assert_eq!(
        here.run(&["stack", "output", "name"])?.expect(0)?.data,
        name
    );
    Ok(())
}
