//! `kill -9` at every fault point of the state: the next `up` converges, nothing is lost and
//! nothing is made twice.

use anyhow::{Result, ensure};

use crate::support::exe;
use lockgate_testkit::World;

/// Each create appends its name to a file outside the state: the world as it is.
fn program(names: &[&str]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("name: crash\nruntime: yaml\nresources:\n");
    let mut before: Option<&str> = None;
    for name in names {
        let _ = write!(
            text,
            "  {name}:\n    type: command:local:Command\n    properties:\n      create: mkdir -p made && touch made/{name}\n      delete: rm -f made/{name}\n"
        );
        if let Some(before) = before {
            let _ = write!(
                text,
                "    options:\n      dependsOn:\n        - ${{{before}}}\n"
            );
        }
        before = Some(name);
    }
    text
}

fn made(world: &World) -> Result<Vec<String>> {
    let folder = world.project().join("made");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[test]
fn a_run_killed_at_any_fault_point_converges() -> Result<()> {
    let mut fired = 0;
    for point in lockgate_state::FAULT_POINTS {
        for passing in [1, 2, 5] {
            let mut world = World::new(exe())?;
            world.write("Pulumi.yaml", &program(&["a", "b", "c"]))?;
            world.set_env("LOCKGATE_TEST_FAULT", &format!("{point}:{passing}"));
            let killed = world.run(&["up", "--yes"])?;
            let hit = killed.code.is_none();
            fired += u32::from(hit);
            world.set_env("LOCKGATE_TEST_FAULT", "");
            let place = format!("{point}:{passing} (hit: {hit})");
            let up = world.run(&["up", "--yes"])?;
            ensure!(up.code == Some(0), "{place}: {}\n{}", up.talk, killed.talk);
            ensure!(
                made(&world)? == ["a", "b", "c"],
                "{place}: made {:?}",
                made(&world)?
            );
            let again = world.run(&["up", "--yes"])?.expect(0)?;
            ensure!(again.talk.contains("no changes"), "{place}: {}", again.talk);
            world.run(&["destroy", "--yes"])?.expect(0)?;
            ensure!(
                made(&world)?.is_empty(),
                "{place}: left {:?}",
                made(&world)?
            );
            if !hit {
                break;
            }
        }
    }
    assert!(fired > 5, "only {fired} faults fired: the test is void");
    Ok(())
}
