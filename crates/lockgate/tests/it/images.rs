//! Images through the front door: Dockerfiles and contexts that cannot work, and odd ones that
//! must.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Result;
use lockgate_testkit::{Output, World};

use crate::support::world;

const PROGRAM: &str = "name: img\nruntime: yaml\nresources:\n  image:\n    type: lockgate:image:Build\n    properties:\n      context: ./app\n      dockerfile: app/Dockerfile\noutputs:\n  digest: ${image.digest}\n";

/// A project whose context has `dockerfile` and one file.
fn project(dockerfile: &str) -> Result<World> {
    let world = world(PROGRAM)?;
    world.write("app/Dockerfile", dockerfile)?;
    world.write("app/hello.txt", "hello\n")?;
    Ok(world)
}

/// The build fails in the preview, so nothing was touched, and says all of `expected`.
fn refused(world: &World, expected: &[&str]) -> Result<()> {
    let output = world.run(&["up", "--yes"])?;
    assert!(
        matches!(output.code, Some(1 | 2)),
        "{:?}: {}",
        output.code,
        output.talk
    );
    for text in expected {
        assert!(
            output.talk.contains(text),
            "expected {text:?} in:\n{}",
            output.talk
        );
    }
    let state = world.run(&["stack", "export"])?.expect(0)?.data;
    assert!(
        !state.contains("::image"),
        "a failed image reached the state"
    );
    Ok(())
}

fn digest(world: &World) -> Result<String> {
    world.run(&["up", "--yes"])?.expect(0)?;
    Ok(world.run(&["stack", "output", "digest"])?.expect(0)?.data)
}

#[test]
fn a_syntax_error_is_shown_with_its_line() -> Result<()> {
    let world = project("FROM scratch\nCOPPY hello.txt /\n")?;
    refused(&world, &["Dockerfile:2:1", "COPPY"])
}

#[test]
fn a_missing_source_is_named() -> Result<()> {
    let world = project("FROM scratch\nCOPY nope.txt /\n")?;
    refused(&world, &["Dockerfile:2", "nope.txt"])
}

#[test]
fn a_path_cannot_leave_the_context() -> Result<()> {
    let world = project("FROM scratch\nCOPY ../../secret.txt /\n")?;
    world.write("secret.txt", "not for the image")?;
    refused(&world, &["Dockerfile:2", "secret.txt"])
}

#[test]
fn a_link_cannot_leave_the_context() -> Result<()> {
    let world = project("FROM scratch\nCOPY link /\n")?;
    world.write("secret.txt", "not for the image")?;
    std::os::unix::fs::symlink("../secret.txt", world.project().join("app/link"))?;
    refused(&world, &["Dockerfile:2", "link"])
}

#[test]
fn a_missing_context_is_named() -> Result<()> {
    let world = world(
        &PROGRAM
            .replace("./app", "./nowhere")
            .replace("app/Dockerfile", "Dockerfile"),
    )?;
    world.write("Dockerfile", "FROM scratch\nCOPY . /\n")?;
    refused(&world, &["nowhere"])
}

#[test]
fn link_loops_and_odd_names_are_copied_as_they_are() -> Result<()> {
    let world = project("FROM scratch\nCOPY . /data/\n")?;
    let app = world.project().join("app");
    std::os::unix::fs::symlink("loop-b", app.join("loop-a"))?;
    std::os::unix::fs::symlink("loop-a", app.join("loop-b"))?;
    std::os::unix::fs::symlink(".", app.join("self"))?;
    fs_err::write(app.join(OsStr::from_bytes(b"caf\xe9 \n odd")), "x")?;
    let first = digest(&world)?;
    assert!(
        world
            .run(&["up", "--yes"])?
            .expect(0)?
            .talk
            .contains("no changes")
    );
    fs_err::write(app.join(OsStr::from_bytes(b"caf\xe9 \n odd")), "y")?;
    assert_ne!(digest(&world)?, first);
    Ok(())
}

#[test]
fn a_large_file_passes_through_without_being_held() -> Result<()> {
    const BYTES: u64 = 1 << 30;
    let world = project("FROM scratch\nCOPY big.bin /\n")?;
    let file = fs_err::File::create(world.project().join("app/big.bin"))?;
    file.set_len(BYTES)?;
    drop(file);
    let command = world.command(&["up", "--yes"]);
    // A gibibyte of zeros in, with a quarter of that as address space for data.
    let limited = format!(
        "ulimit -d 262144; exec {} up --yes",
        command.get_program().to_string_lossy()
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &limited]).current_dir(world.project());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let output = shell.output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn a_secret_in_a_layer_stops_everything_behind_the_gate() -> Result<()> {
    let gated = format!(
        "{}  gate:\n    type: lockgate:image:Gate\n    properties:\n      image: ${{image.ref}}\n      secrets: true\n",
        PROGRAM.split("outputs:").next().unwrap_or_default()
    );
    let world = project("FROM scratch\nCOPY . /\n")?;
    world.write("Pulumi.yaml", &gated)?;
    // The shape of a cloud key, made here so that no scanner of this repository finds one.
    let key = format!("AKIA{}", "Z7QXW2ERT4YUIOP5");
    world.write("app/config.ini", &format!("aws_access_key_id = {key}\n"))?;
    let output: Output = world.run(&["up", "--yes"])?.expect(1)?;
    assert!(output.talk.contains("config.ini"), "{}", output.talk);
    assert!(!output.talk.contains(&key), "the secret was printed");
    Ok(())
}
