//! `cargo xtask example NAME`: runs an example and prints what was seen.

use anyhow::{Context as _, Result, bail};
use lockgate_testkit::example;
use lockgate_testkit::languages::Language;

use crate::{build, root};

/// Runs one example.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let name = args
        .first()
        .context("which example? `ai`, `hello`, `python` or `typescript`")?;
    let release = args.iter().any(|arg| arg == "--release");
    match name.as_str() {
        "ai" => ai(release),
        "hello" => hello(release),
        "python" => greeting(release, name, Language::Python),
        "typescript" => greeting(release, name, Language::Nodejs),
        other => bail!("no example `{other}`; there are: ai, hello, python, typescript"),
    }
}

fn hello(release: bool) -> Result<()> {
    let exe = build(release)?;
    let report = example::hello(&exe, &root()?.join("examples/hello"))?;
    let section = |title: &str, time: std::time::Duration, text: &str| {
        println!("--- {title} ({:.2} s)\n{text}", time.as_secs_f64());
    };
    section(
        "up",
        report.first.time,
        &format!("{}{}", report.first.talk, report.first.data),
    );
    println!(
        "--- with the key: {} {:?}",
        report.answer.status, report.answer.body
    );
    println!(
        "--- without it:   {} {}",
        report.without_key.status, report.without_key.body
    );
    section("up again", report.no_op.time, &report.no_op.talk);
    section("up after an edit", report.edited.time, &report.edited.talk);
    println!(
        "--- stream during the switch: {} good, {} failed {:?}, bodies {:?}",
        report.seen.good, report.seen.bad, report.seen.reasons, report.seen.bodies
    );
    section("destroy", report.destroyed.time, &report.destroyed.talk);
    println!("--- nothing left behind");
    Ok(())
}

fn ai(release: bool) -> Result<()> {
    let exe = build(release)?;
    let report = example::ai(&exe, &root()?.join("examples/ai"))?;
    for (title, output) in [
        ("up", &report.first),
        ("the published SDK", &report.asked),
        ("lockgate ai usage", &report.usage_text),
        ("up again", &report.no_op),
        ("destroy", &report.destroyed),
    ] {
        let time = output.time.as_secs_f64();
        println!("--- {title} ({time:.2} s)\n{}{}", output.talk, output.data);
    }
    println!("--- the vendor saw {} calls", report.seen.len());
    Ok(())
}

fn greeting(release: bool, name: &str, language: Language) -> Result<()> {
    let exe = build(release)?;
    let folder = root()?.join("examples").join(name);
    let report = example::greeting(&exe, &folder, language)?;
    for (title, output) in [
        ("up", &report.first),
        ("up again", &report.no_op),
        ("up after `lockgate config set greeting`", &report.changed),
        ("destroy", &report.destroyed),
    ] {
        let time = output.time.as_secs_f64();
        println!("--- {title} ({time:.2} s)\n{}{}", output.talk, output.data);
    }
    println!("--- the file is gone, nothing left behind");
    Ok(())
}
