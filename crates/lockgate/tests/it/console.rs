//! The console in a real browser, with the numbers of real traffic.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::world::wait_until;
use lockgate_testkit::{World, browser, example, http, vendor};

use crate::support::{example as folder, exe};

/// Time counts have to reach the page: they are saved every 5 s.
const COUNTS_TIMEOUT: Duration = Duration::from_secs(20);

/// A fresh link of the node.
fn link(world: &World) -> Result<String> {
    let output = world.run(&["console", "--open=false"])?.expect(0)?;
    ensure!(
        output.talk.contains("within 60 s; it works once"),
        "{}",
        output.talk
    );
    Ok(output.data.trim().to_owned())
}

/// The page without a browser, over one session.
struct Session {
    page: String,
    cookie: String,
}

impl Session {
    fn open(world: &World) -> Result<Self> {
        let url = link(world)?;
        let answer = http::get(&url, &[])?;
        let cookie = answer.header("set-cookie").context("no cookie")?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let (origin, _) = url.split_once("/console/").context("not a link")?;
        Ok(Self {
            page: format!("{origin}/console"),
            cookie,
        })
    }

    fn read(&self) -> Result<String> {
        let answer = http::get(&self.page, &[("cookie", &self.cookie)])?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }
}

#[test]
fn the_console_shows_what_the_node_runs_and_answers() -> Result<()> {
    let world = World::with_project(exe(), &folder("hello"))?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let (url, key) = example::endpoint(&world)?;
    for _ in 0..5 {
        assert_eq!(http::get(&url, &[("x-api-key", &key)])?.status, 200);
    }
    assert_eq!(http::get(&url, &[])?.status, 401);
    let status = world
        .run(&["node", "status", "--json"])?
        .expect(0)?
        .json()?;
    let digest = status["services"][0]["digest"].as_str();
    let digest = digest.context("no digest")?;

    let session = Session::open(&world)?;
    wait_until("the counts", COUNTS_TIMEOUT, || {
        Ok(session.read()?.contains(" id=\"requests\">6<"))
    })?;
    let url = link(&world)?;
    let seen = browser::read(&world, &url)?;
    assert_eq!(seen.complaints, [""; 0]);
    assert_eq!(seen.text_of("services-healthy")?, "1");
    assert_eq!(seen.text_of("requests")?, "6");
    assert_eq!(seen.text_of("errors")?, "0");
    assert!(seen.text_of("p95")?.starts_with("≤ "));
    assert_ne!(seen.text_of("rate")?, "0.00");
    assert!(seen.dom.contains(&format!("title=\"{digest}\"")));
    assert!(seen.dom.contains("hello/dev/web") && seen.dom.contains("hello/dev/route"));
    assert_eq!(seen.dom.matches("<canvas").count(), 2, "{}", seen.dom);
    assert!(seen.dom.contains("Renews every 5 seconds."), "{}", seen.dom);

    let again = http::get(&url, &[])?;
    assert_eq!(again.status, 403);
    assert!(again.body.contains("<code>lockgate console</code>"));
    let locked = browser::read(&world, &session.page)?;
    assert_eq!(locked.text_of("locked")?, "The console is locked");

    let picture = world.home().join("console.png");
    for size in [(1280, 900), (390, 844)] {
        let seen = browser::photograph(&world, &link(&world)?, size, &picture)?;
        assert_eq!(seen.complaints, [""; 0]);
        assert_eq!(browser::dimensions(&picture)?, size);
    }
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn the_console_shows_ai_usage_by_model() -> Result<()> {
    let vendor = vendor::Vendor::start(Duration::ZERO)?;
    let world = example::ai_world(exe(), &folder("ai"), &vendor)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let (url, key) = example::endpoint(&world)?;
    let bearer = format!("Bearer {key}");
    let ask = r#"{"model":"fast","messages":[{"role":"user","content":"Say a few words."}]}"#;
    for _ in 0..2 {
        let url = format!("{url}/chat/completions");
        let answer = http::post(&url, &[("authorization", &bearer)], ask)?;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let seen = browser::read(&world, &link(&world)?)?;
    assert_eq!(seen.complaints, [""; 0]);
    let told = vendor.log();
    let input: u64 = told.iter().map(|call| call.input).sum();
    let output: u64 = told.iter().map(|call| call.output).sum();
    // Pico-dollars a token, from the example's price file.
    let micros = (input * 150_000 + output * 600_000) / 1_000_000;
    for (column, value) in [
        ("Calls", "2".to_owned()),
        ("Failed", "0".to_owned()),
        ("Tokens in", input.to_string()),
        ("Tokens out", output.to_string()),
        ("Cost", format!("0.{micros:06} USD")),
    ] {
        let cell = format!("data-label=\"{column}\" class=\"number\">{value}</td>");
        assert!(seen.dom.contains(&cell), "no {cell} in {}", seen.dom);
    }
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn without_a_node_the_console_says_how_to_start_one() -> Result<()> {
    let world = World::new(exe())?;
    let output = world.run(&["console"])?.expect(1)?;
    assert!(
        output.talk.contains("lockgate node start"),
        "{}",
        output.talk
    );
    world.close()
}
