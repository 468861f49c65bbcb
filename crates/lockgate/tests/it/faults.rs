//! Faults of the machine: taken ports, full disks, killed nodes, impatient people.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::world::wait_until;
use lockgate_testkit::{World, example as life, http};

use crate::support::{chain, example, exe, world};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_taken_port_is_an_error_that_names_it() -> Result<()> {
    let world = World::new(exe())?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    world.write_home(
        "lockgate.toml",
        &format!("[data]\naddress = \"{address}\"\n"),
    )?;
    let output = world.run(&["node", "start"])?.expect(1)?;
    assert!(output.talk.contains(&address), "{}", output.talk);
    Ok(())
}

#[test]
fn two_nodes_do_not_share_a_port() -> Result<()> {
    let first = World::new(exe())?;
    first.run(&["node", "start"])?.expect(0)?;
    let status = first
        .run(&["node", "status", "--json"])?
        .expect(0)?
        .json()?;
    let url = status["gatewayUrl"].as_str().context("no URL")?;
    let address = url.trim_start_matches("http://");
    let second = World::new(exe())?;
    second.write_home(
        "lockgate.toml",
        &format!("[data]\naddress = \"{address}\"\n"),
    )?;
    let output = second.run(&["node", "start"])?.expect(1)?;
    assert!(output.talk.contains(address), "{}", output.talk);
    first.close()
}

#[test]
fn a_node_killed_during_an_up_costs_a_repeat_and_nothing_else() -> Result<()> {
    let world = World::with_project(exe(), &example("hello"))?;
    let mut up = world.command(&["up", "--yes"]).spawn()?;
    let pid_file = world.home().join("node/pid");
    let mut pid = String::new();
    wait_until("the node", LIMIT, || {
        pid = fs_err::read_to_string(&pid_file)
            .unwrap_or_default()
            .trim()
            .to_owned();
        Ok(!pid.is_empty())
    })?;
    ensure!(Command::new("kill").args(["-9", &pid]).status()?.success());
    up.wait()?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let (url, key) = life::endpoint(&world)?;
    assert_eq!(http::get(&url, &[("x-api-key", &key)])?.status, 200);
    assert!(
        world
            .run(&["up", "--yes"])?
            .expect(0)?
            .talk
            .contains("no changes")
    );
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn a_full_disk_stops_the_run_and_the_state_stays_whole() -> Result<()> {
    let mut world = world(&chain(40))?;
    let disk = world.project().join("disk");
    fs_err::create_dir_all(&disk)?;
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
        .arg(&disk)
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!(
            "SKIPPED a_full_disk_stops_the_run_and_the_state_stays_whole: mounting needs root"
        );
        return Ok(());
    }
    let outcome = fill_and_run(&mut world, &disk);
    let unmounted = Command::new("umount").arg(&disk).status()?;
    ensure!(unmounted.success(), "the disk is still in use");
    outcome
}

fn fill_and_run(world: &mut World, disk: &std::path::Path) -> Result<()> {
    world.set_env("LOCKGATE_HOME", &disk.to_string_lossy());
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    let ballast = disk.join("ballast");
    Command::new("dd")
        .args(["if=/dev/zero", "bs=1024", "count=492"])
        .arg(format!("of={}", ballast.display()))
        .output()?;
    let full = world.run(&["up", "--yes"])?;
    ensure!(full.code == Some(1), "{:?}: {}", full.code, full.talk);
    ensure!(full.talk.contains("No space left"), "{}", full.talk);
    fs_err::remove_file(&ballast)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let again = world.run(&["up", "--yes"])?.expect(0)?;
    ensure!(again.talk.contains("no changes"), "{}", again.talk);
    Ok(())
}

#[test]
fn a_second_interrupt_stops_now_and_the_state_is_true() -> Result<()> {
    let program = "name: x\nruntime: yaml\nresources:\n  endless:\n    type: command:local:Command\n    properties:\n      create: touch started; while [ ! -e go ]; do sleep 0.02; done\n";
    let world = world(program)?;
    let mut run = world.command(&["up", "--yes"]).spawn()?;
    let started = world.project().join("started");
    wait_until("the run", LIMIT, || Ok(started.exists()))?;
    let pid = run.id().to_string();
    let interrupt = || Command::new("kill").args(["-INT", &pid]).status();
    interrupt()?;
    // Two signals at once may arrive as one, so the second is sent until the run is gone.
    let mut code = None;
    wait_until("the end of the run", LIMIT, || {
        interrupt()?;
        code = run.try_wait()?;
        Ok(code.is_some())
    })?;
    assert_eq!(code.and_then(|status| status.code()), Some(130));
    world.write("go", "")?;
    world.run(&["up", "--yes"])?.expect(0)?;
    assert!(
        world
            .run(&["up", "--yes"])?
            .expect(0)?
            .talk
            .contains("no changes")
    );
    Ok(())
}
