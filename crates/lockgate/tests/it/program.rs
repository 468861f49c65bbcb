//! Programs that fail on the way: what is done stays true, what is said names the cause.

use anyhow::Result;

use crate::support::{steps, world};

#[test]
fn a_failing_command_shows_its_last_lines_and_the_rest_is_kept() -> Result<()> {
    let program = "name: x\nruntime: yaml\nresources:\n  pet:\n    type: random:RandomPet\n  bad:\n    type: command:local:Command\n    properties:\n      create: echo the-reason-why >&2; exit 3\n    options:\n      dependsOn:\n        - ${pet}\n";
    let world = world(program)?;
    let failed = world.run(&["up", "--yes"])?.expect(1)?;
    assert!(failed.talk.contains("the-reason-why"), "{}", failed.talk);
    let fixed = program.replace("exit 3", "true");
    world.write("Pulumi.yaml", &fixed)?;
    let again = world.run(&["up", "--yes", "--json"])?.expect(0)?;
    let steps = steps(&again)?;
    assert!(steps.contains(&"create bad".to_owned()), "{steps:?}");
    assert!(
        !steps.contains(&"create pet".to_owned()),
        "made twice: {steps:?}"
    );
    Ok(())
}

#[test]
fn a_warning_of_the_program_is_told_once_a_run() -> Result<()> {
    let program = "name: x\nruntime: yaml\nresources:\n  pet:\n    type: random:RandomPet\n    Properties:\n      length: 2\n";
    let world = world(program)?;
    let up = world.run(&["up", "--yes"])?.expect(0)?;
    assert_eq!(up.talk.matches("LG0206").count(), 1, "{}", up.talk);
    Ok(())
}

#[test]
fn protected_resources_survive_a_destroy_and_are_named() -> Result<()> {
    let program = "name: x\nruntime: yaml\nresources:\n  keep:\n    type: random:RandomPet\n    options:\n      protect: true\n  go:\n    type: random:RandomPet\n";
    let world = world(program)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let failed = world.run(&["destroy", "--yes"])?.expect(1)?;
    assert!(failed.talk.contains("keep"), "{}", failed.talk);
    world.write(
        "Pulumi.yaml",
        &program.replace("protect: true", "protect: false"),
    )?;
    world.run(&["up", "--yes"])?.expect(0)?;
    world.run(&["destroy", "--yes"])?.expect(0)?;
    Ok(())
}

#[test]
fn a_run_that_would_delete_most_of_a_stack_is_refused_without_the_flag() -> Result<()> {
    let world = world(&crate::support::chain(20))?;
    world.run(&["up", "--yes"])?.expect(0)?;
    world.write("Pulumi.yaml", &crate::support::chain(2))?;
    let refused = world.run(&["up", "--yes"])?.expect(1)?;
    assert!(refused.talk.contains("delete"), "{}", refused.talk);
    world.run(&["up", "--yes", "--allow-deletes"])?.expect(0)?;
    Ok(())
}

#[test]
fn two_runs_at_once_are_kept_apart() -> Result<()> {
    let program = "name: x\nruntime: yaml\nresources:\n  slow:\n    type: command:local:Command\n    properties:\n      create: touch started && while [ ! -e go ]; do sleep 0.02; done\n";
    let world = world(program)?;
    let mut first = world.command(&["up", "--yes"]).spawn()?;
    let limit = std::time::Duration::from_secs(20);
    let started = world.project().join("started");
    lockgate_testkit::world::wait_until("the first run", limit, || Ok(started.exists()))?;
    let second = world.run(&["up", "--yes"])?;
    world.write("go", "")?;
    assert!(first.wait()?.success());
    assert_eq!(second.code, Some(1), "{}", second.talk);
    assert!(
        second.talk.contains("lockgate up"),
        "does not name the holder: {}",
        second.talk
    );
    Ok(())
}

#[test]
fn an_interrupt_finishes_what_runs_and_saves() -> Result<()> {
    let program = "name: x\nruntime: yaml\nresources:\n  slow:\n    type: command:local:Command\n    properties:\n      create: touch started && while [ ! -e go ]; do sleep 0.02; done\n  after:\n    type: random:RandomPet\n    options:\n      dependsOn:\n        - ${slow}\n";
    let world = world(program)?;
    let mut run = world.command(&["up", "--yes"]).spawn()?;
    let limit = std::time::Duration::from_secs(20);
    let started = world.project().join("started");
    lockgate_testkit::world::wait_until("the run", limit, || Ok(started.exists()))?;
    let pid = run.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()?
            .success()
    );
    world.write("go", "")?;
    assert_eq!(run.wait()?.code(), Some(130));
    let state = world.run(&["stack", "export"])?.expect(0)?.data;
    assert!(state.contains("::slow"), "what ran was not saved");
    assert!(!state.contains("::after\""), "a new step was started");
    world.run(&["up", "--yes"])?.expect(0)?;
    Ok(())
}
