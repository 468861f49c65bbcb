//! Headless Chromium, one fresh profile a visit.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::World;

/// Time of the page's own clock that the browser runs before it looks: more than two renewals of
/// the console.
const PAGE_TIME_MS: u32 = 12_000;

/// What a browser made of a page.
#[derive(Debug)]
pub struct Seen {
    /// The document after its scripts ran.
    pub dom: String,
    /// What the page's console says: errors of scripts, and what the page's policy blocked.
    pub complaints: Vec<String>,
}

impl Seen {
    /// The text at the start of the element with this id.
    pub fn text_of(&self, id: &str) -> Result<&str> {
        let start = format!(" id=\"{id}\">");
        let found = self.dom.split_once(&start);
        let (_, rest) = found.with_context(|| format!("no element `{id}` in {}", self.dom))?;
        Ok(rest.split('<').next().unwrap_or_default())
    }
}

/// Opens `url` and gives the document as its scripts left it.
pub fn read(world: &World, url: &str) -> Result<Seen> {
    browse(world, url, &["--dump-dom"])
}

/// Opens `url` in a window of `width` × `height` pixels and writes what it shows as a PNG file.
pub fn photograph(
    world: &World,
    url: &str,
    (width, height): (u32, u32),
    path: &Path,
) -> Result<Seen> {
    let screenshot = format!("--screenshot={}", path.display());
    let size = format!("--window-size={width},{height}");
    browse(world, url, &[&screenshot, &size, "--hide-scrollbars"])
}

fn browse(world: &World, url: &str, more: &[&str]) -> Result<Seen> {
    let profile = world.home().join("browser");
    if profile.is_dir() {
        fs_err::remove_dir_all(&profile)?;
    }
    let output = Command::new("chromium")
        .args([
            "--headless",
            // Its sandbox needs what a test machine may not give; the pages are ours.
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
        .context("start Chromium; `cargo xtask test` installs it")?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the browser failed: {talk}");
    let complaints = talk.lines().filter(|line| line.contains("CONSOLE"));
    Ok(Seen {
        complaints: complaints.map(str::to_owned).collect(),
        dom: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// Width and height of a PNG file (PNG specification §11.2.2).
pub fn dimensions(path: &Path) -> Result<(u32, u32)> {
    let bytes = fs_err::read(path)?;
    let number = |at: usize| {
        let field = bytes.get(at..at + 4).and_then(|f| f.try_into().ok());
        field.map(u32::from_be_bytes).context("not a PNG file")
    };
    Ok((number(16)?, number(20)?))
}
