//! The console in a real browser, with the numbers of real traffic.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::world::wait_until;
use lockgate_testkit::{World, example, http};

use crate::support::{example as folder, exe};

/// Time of the page's own clock that the browser runs before it looks: more than one renewal.
const PAGE_TIME_MS: u32 = 12_000;

/// What a browser made of a page.
struct Seen {
    /// The document after its scripts ran.
    dom: String,
    /// Messages of the page: errors, and what its policy blocked.
    complaints: Vec<String>,
}

/// Opens `url` in headless Chromium with a fresh profile.
fn browse(world: &World, url: &str, more: &[&str]) -> Result<Seen> {
    let profile = world.home().join("browser");
    if profile.is_dir() {
        fs_err::remove_dir_all(&profile)?;
    }
    let output = Command::new("chromium")
        .args([
            "--headless",
            // The sandbox of the browser needs what a test machine may not give; the page is ours.
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--virtual-time-budget={PAGE_TIME_MS}"))
        .args(more)
        .arg(url)
        .env("HOME", &profile)
        .stdin(Stdio::null())
        .output()
        .context("start Chromium; `cargo xtask test --prepare` installs it")?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the browser failed: {talk}");
    Ok(Seen {
        dom: String::from_utf8_lossy(&output.stdout).into_owned(),
        complaints: talk
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .map(str::to_owned)
            .collect(),
    })
}

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

/// The text of the element with this id.
fn text_of<'a>(dom: &'a str, id: &str) -> Result<&'a str> {
    let start = format!(" id=\"{id}\">");
    let (_, rest) = dom
        .split_once(&start)
        .with_context(|| format!("no element `{id}` in {dom}"))?;
    Ok(rest.split('<').next().unwrap_or_default())
}

/// A page as text, over one session.
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

    fn requests(&self) -> Result<String> {
        let answer = http::get(&self.page, &[("cookie", &self.cookie)])?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(text_of(&answer.body, "requests")?.to_owned())
    }
}

/// Width and height of a PNG file (PNG specification §11.2.2).
fn dimensions(path: &Path) -> Result<(u32, u32)> {
    let bytes = fs_err::read(path)?;
    let number = |at: usize| {
        let field = bytes.get(at..at + 4).and_then(|f| f.try_into().ok());
        field.map(u32::from_be_bytes).context("not a PNG file")
    };
    Ok((number(16)?, number(20)?))
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
    let digest = status["services"][0]["digest"]
        .as_str()
        .context("no digest")?;

    let session = Session::open(&world)?;
    wait_until("the counts", Duration::from_secs(20), || {
        Ok(session.requests()? == "6")
    })?;
    let url = link(&world)?;
    let seen = browse(&world, &url, &["--dump-dom"])?;
    assert_eq!(seen.complaints, [""; 0]);
    assert_eq!(text_of(&seen.dom, "services-healthy")?, "1");
    assert_eq!(text_of(&seen.dom, "requests")?, "6");
    assert_eq!(text_of(&seen.dom, "errors")?, "0");
    assert!(text_of(&seen.dom, "p95")?.starts_with("≤ "));
    assert_ne!(text_of(&seen.dom, "rate")?, "0.00");
    assert!(seen.dom.contains(&format!("title=\"{digest}\"")));
    assert!(seen.dom.contains("hello/dev/web") && seen.dom.contains("hello/dev/route"));
    assert_eq!(seen.dom.matches("<canvas").count(), 2, "{}", seen.dom);
    assert!(seen.dom.contains("Renews every 5 seconds."), "{}", seen.dom);

    let again = http::get(&url, &[])?;
    assert_eq!(again.status, 403);
    assert!(again.body.contains("<code>lockgate console</code>"));
    let locked = browse(&world, &session.page, &["--dump-dom"])?;
    assert!(locked.dom.contains("The console is locked"));

    let picture = world.home().join("console.png");
    for (width, height) in [(1280, 900), (390, 844)] {
        let screenshot = format!("--screenshot={}", picture.display());
        let size = format!("--window-size={width},{height}");
        browse(
            &world,
            &link(&world)?,
            &[&screenshot, &size, "--hide-scrollbars"],
        )?;
        assert_eq!(dimensions(&picture)?, (width, height));
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
