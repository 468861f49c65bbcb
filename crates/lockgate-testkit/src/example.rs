//! Examples, from nothing to a probed endpoint and back to nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::http;
use crate::languages::{self, Language};
use crate::load::{Seen, Steady};
use crate::vendor;
use crate::world::{Output, World};

/// What was seen on the way; printed by `cargo xtask example`, asserted by tests.
#[derive(Debug)]
pub struct HelloReport {
    /// The first `up`.
    pub first: Output,
    /// The answer with the key.
    pub answer: http::Answer,
    /// The answer without it.
    pub without_key: http::Answer,
    /// The second `up`, which changes nothing.
    pub no_op: Output,
    /// The preview after an edit.
    pub preview: Output,
    /// The `up` after the edit.
    pub edited: Output,
    /// What a steady stream saw during that `up`.
    pub seen: Seen,
    /// Destroy.
    pub destroyed: Output,
}

/// The URL and the key that an `up` published.
pub fn endpoint(world: &World) -> Result<(String, String)> {
    let outputs = world
        .run(&["stack", "output", "--json", "--show-secrets"])?
        .expect(0)?
        .json()?;
    let text = |name: &str| {
        outputs[name]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no output `{name}`"))
    };
    Ok((text("url")?, text("key")?))
}

/// Takes `examples/hello` through its whole life in a world of its own.
pub fn hello(exe: &Path, folder: &Path) -> Result<HelloReport> {
    let world = World::with_project(exe, folder)?;
    let first = world.run(&["up", "--yes"])?.expect(0)?;
    let (url, key) = endpoint(&world)?;
    let answer = http::get(&url, &[("x-api-key", &key)])?;
    ensure!(answer.status == 200, "with the key: {answer:?}");
    let without_key = http::get(&url, &[])?;
    ensure!(
        without_key.status == 401,
        "without the key: {without_key:?}"
    );
    let no_op = world.run(&["up", "--yes"])?.expect(0)?;

    let source = fs_err::read_to_string(world.project().join("main.rs"))?;
    world.write("main.rs", &source.replace("\"hello\"", "\"good day\""))?;
    let preview = world.run(&["preview", "--json"])?.expect(0)?;
    let (address, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .with_context(|| format!("not a URL: {url}"))?;
    let stream = Steady::start(address.to_owned(), format!("/{path}"), key.clone(), 200);
    let edited = world
        .run(&["up", "--yes"])
        .and_then(|output| output.expect(0));
    crate::world::wait_until("the new version", Duration::from_secs(10), || {
        Ok(http::get(&url, &[("x-api-key", &key)])?
            .body
            .starts_with("good day"))
    })?;
    let seen = stream.stop();
    let edited = edited?;
    let destroyed = world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()?;
    Ok(HelloReport {
        first,
        answer,
        without_key,
        no_op,
        preview,
        edited,
        seen,
        destroyed,
    })
}

/// What the life of a greeting program looked like.
#[derive(Debug)]
pub struct GreetingReport {
    /// The first `up`.
    pub first: Output,
    /// Outputs after it, secrets in clear.
    pub outputs: Value,
    /// The second `up`, which changes nothing.
    pub no_op: Output,
    /// The `up` after the config was changed.
    pub changed: Output,
    /// Outputs after it, secrets masked.
    pub masked: Value,
    /// Destroy.
    pub destroyed: Output,
}

/// Takes `examples/python` or `examples/typescript` through its whole life.
pub fn greeting(exe: &Path, folder: &Path, language: Language) -> Result<GreetingReport> {
    let mut world = World::with_project(exe, folder)?;
    languages::link(exe, &mut world, language)?;
    let file = world.project().join("greeting.txt");
    let first = world.run(&["up", "--yes"])?.expect(0)?;
    let outputs = ["stack", "output", "--json", "--show-secrets"];
    let outputs = world.run(&outputs)?.expect(0)?.json()?;
    let written = fs_err::read_to_string(&file)?;
    ensure!(
        outputs["text"] == written.as_str(),
        "{outputs} but the file says {written:?}"
    );
    let no_op = world.run(&["up", "--yes"])?.expect(0)?;
    world
        .run(&["config", "set", "greeting", "good day"])?
        .expect(0)?;
    let changed = world.run(&["up", "--yes"])?.expect(0)?;
    let masked = world
        .run(&["stack", "output", "--json"])?
        .expect(0)?
        .json()?;
    let destroyed = world.run(&["destroy", "--yes"])?.expect(0)?;
    ensure!(!file.exists(), "the file outlived its stack");
    world.close()?;
    Ok(GreetingReport {
        first,
        outputs,
        no_op,
        changed,
        masked,
        destroyed,
    })
}

/// What the life of the AI example looked like.
#[derive(Debug)]
pub struct AiReport {
    /// The first `up`.
    pub first: Output,
    /// What the published SDK said.
    pub asked: Output,
    /// `lockgate ai calls`, as data.
    pub usage: Value,
    /// `lockgate ai usage`.
    pub usage_text: Output,
    /// What the vendor saw.
    pub seen: Vec<vendor::Seen>,
    /// The second `up`, which changes nothing.
    pub no_op: Output,
    /// Files of the home folder that hold the vendor's key; there must be none.
    pub leaks: Vec<std::path::PathBuf>,
    /// Destroy.
    pub destroyed: Output,
}

/// A world in which the AI example runs against `vendor`.
pub fn ai_world(exe: &Path, folder: &Path, vendor: &vendor::Vendor) -> Result<World> {
    let world = World::with_project(exe, folder)?;
    let url = vendor.url();
    let set = |args: &[&str]| world.run(args)?.expect(0);
    set(&["stack", "init", "dev"])?;
    set(&["config", "set", "vendorUrl", &url])?;
    set(&["config", "set", "--secret", "vendorKey", vendor::KEY])?;
    Ok(world)
}

/// Lets the published SDK ask the models of a world whose AI example is up.
pub fn ask(exe: &Path, world: &World) -> Result<Output> {
    let (url, key) = endpoint(world)?;
    let python = languages::packages(exe, Language::Python)?.join("bin/python");
    let start = std::time::Instant::now();
    let output = std::process::Command::new(python)
        .arg("ask.py")
        .current_dir(world.project())
        .env("OPENAI_BASE_URL", &url)
        .env("OPENAI_API_KEY", &key)
        .output()
        .context("start the SDK")?;
    let asked = Output {
        code: output.status.code(),
        data: String::from_utf8_lossy(&output.stdout).into_owned(),
        talk: String::from_utf8_lossy(&output.stderr).into_owned(),
        time: start.elapsed(),
    };
    asked.expect(0)
}

/// Takes `examples/ai` through its whole life against the test vendor.
pub fn ai(exe: &Path, folder: &Path) -> Result<AiReport> {
    let vendor = vendor::Vendor::start(Duration::ZERO)?;
    let world = ai_world(exe, folder, &vendor)?;
    let first = world.run(&["up", "--yes"])?.expect(0)?;
    let asked = ask(exe, &world)?;
    let usage = ["ai", "calls", "--json"];
    let usage = world.run(&usage)?.expect(0)?.json()?;
    let usage_text = world.run(&["ai", "usage"])?.expect(0)?;
    let no_op = world.run(&["up", "--yes"])?.expect(0)?;
    let leaks = world.files_with(vendor::KEY)?;
    let destroyed = world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()?;
    Ok(AiReport {
        first,
        asked,
        usage,
        usage_text,
        seen: vendor.log(),
        no_op,
        leaks,
        destroyed,
    })
}
