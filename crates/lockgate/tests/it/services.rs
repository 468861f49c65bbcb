//! Services through the front door: bad versions, crashes, a killed node.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lockgate_testkit::world::wait_until;
use lockgate_testkit::{World, example as life, http};

use crate::support::{example, exe};

const LIMIT: Duration = Duration::from_secs(30);

fn hello() -> Result<World> {
    let world = World::with_project(exe(), &example("hello"))?;
    world.run(&["up", "--yes"])?.expect(0)?;
    Ok(world)
}

fn node_pid(world: &World) -> Result<String> {
    let status = world
        .run(&["node", "status", "--json"])?
        .expect(0)?
        .json()?;
    Ok(status["pid"].as_u64().context("no pid")?.to_string())
}

fn kill(signal: &str, pid: &str) -> Result<()> {
    anyhow::ensure!(
        std::process::Command::new("kill")
            .args([signal, pid])
            .status()?
            .success()
    );
    Ok(())
}

#[test]
fn old_version_serves_when_the_new_one_never_gets_healthy() -> Result<()> {
    let world = hello()?;
    let (url, key) = life::endpoint(&world)?;
    let source = fs_err::read_to_string(world.project().join("main.rs"))?;
    let broken = source.replace("fn main() -> std::io::Result<()> {", "fn main() -> std::io::Result<()> {\n    println!(\"cannot-go-on-4711\");\n    std::process::exit(7);\n    #[allow(unreachable_code)]");
    world.write("main.rs", &broken)?;
    let failed = world.run(&["up", "--yes"])?.expect(1)?;
    assert!(
        failed.talk.contains("cannot-go-on-4711"),
        "no log line: {}",
        failed.talk
    );
    let answer = http::get(&url, &[("x-api-key", &key)])?;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "hello, hello/dev/caller\n")
    );
    world.write("main.rs", &source)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn a_crashed_instance_is_started_again() -> Result<()> {
    let world = hello()?;
    let (url, key) = life::endpoint(&world)?;
    let status = world
        .run(&["node", "status", "--json"])?
        .expect(0)?
        .json()?;
    let instance = &status["services"][0]["instances"][0];
    let pid = instance["pid"].as_u64().context("no pid of the instance")?;
    kill("-9", &pid.to_string())?;
    wait_until("the restart", LIMIT, || {
        let status = world
            .run(&["node", "status", "--json"])?
            .expect(0)?
            .json()?;
        Ok(status["services"][0]["instances"][0]["restarts"] == 1
            && status["services"][0]["status"] == "healthy")
    })?;
    assert_eq!(http::get(&url, &[("x-api-key", &key)])?.status, 200);
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn a_killed_node_comes_back_with_routes_keys_and_services() -> Result<()> {
    let world = hello()?;
    let (url, key) = life::endpoint(&world)?;
    let before = world
        .run(&["node", "status", "--json"])?
        .expect(0)?
        .json()?;
    kill("-9", &node_pid(&world)?)?;
    wait_until(
        "the node's end",
        LIMIT,
        || Ok(http::get(&url, &[]).is_err()),
    )?;
    world.run(&["node", "start"])?.expect(0)?;
    let answer = http::get(&url, &[("x-api-key", &key)])?;
    assert_eq!(answer.body, "hello, hello/dev/caller\n");
    let after = world
        .run(&["node", "status", "--json"])?
        .expect(0)?
        .json()?;
    assert_eq!(
        before["services"][0]["instances"][0]["pid"], after["services"][0]["instances"][0]["pid"],
        "the instance was not adopted"
    );
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
fn logs_and_limits_are_there() -> Result<()> {
    let world = hello()?;
    let (url, key) = life::endpoint(&world)?;
    let logs = world.run(&["logs", "web"])?.expect(0)?;
    assert!(
        logs.data.contains("listening on 127.0.0.1:"),
        "{}",
        logs.data
    );
    let typo = world.run(&["logs", "webb"])?.expect(2)?;
    assert!(typo.talk.contains("hello/dev/web"), "{}", typo.talk);
    let address = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap_or_default();
    let mut client = http::Client::connect(address)?;
    let mut limited = None;
    for _ in 0..2000 {
        let answer = client.get("/hello", &[("x-api-key", &key)])?;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
        assert_eq!(answer.status, 200);
    }
    let limited = limited.context("2,000 requests at once were all admitted")?;
    assert!(limited.header("retry-after").is_some(), "{limited:?}");
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}
