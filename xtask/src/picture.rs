//! `cargo xtask picture`: the pictures of the README, made from real runs.

mod console;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use lockgate_testkit::{World, example, http};

use crate::{build, root};

/// Columns of the picture; longer lines are cut as a terminal would hide them.
const COLUMNS: usize = 96;
const CHARACTER_WIDTH: f64 = 8.4;
const LINE_HEIGHT: f64 = 19.0;

/// Makes the picture of this name, or all.
pub(crate) fn run(name: Option<&str>) -> Result<()> {
    fs_err::create_dir_all(root()?.join("docs/pictures"))?;
    match name {
        Some("quickstart") => quickstart(&build(true)?),
        // The page's numbers are of traffic, not of speed: a debug build will do.
        Some("console") => console::run(&build(false)?),
        Some(other) => bail!("there is no picture `{other}`; there are quickstart and console"),
        None => run(Some("quickstart")).and_then(|()| run(Some("console"))),
    }
}

/// Runs the quickstart and draws what it printed.
fn quickstart(exe: &Path) -> Result<()> {
    let world = World::with_project(exe, &root()?.join("examples/hello"))?;
    let up = world
        .run(&["up", "--yes", "--color", "always"])?
        .expect(0)?;
    let (url, key) = example::endpoint(&world)?;
    let answer = http::get(&url, &[("x-api-key", &key)])?;
    let again = world
        .run(&["up", "--yes", "--color", "always"])?
        .expect(0)?;
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()?;
    let mut lines = vec!["\u{1b}[1m$ lockgate up --yes --cwd examples/hello\u{1b}[0m".to_owned()];
    lines.extend(work_part(&up.talk));
    lines.extend(up.data.lines().map(|line| line.replace(&key[20..], "…")));
    lines.push("\u{1b}[1m$ curl -H 'x-api-key: lgk_…' ".to_owned() + &url + "\u{1b}[0m");
    lines.push(answer.body.trim_end().to_owned());
    lines.push("\u{1b}[1m$ lockgate up --yes --cwd examples/hello\u{1b}[0m".to_owned());
    lines.extend(again.talk.lines().map(str::to_owned));
    let path = root()?.join("docs/pictures/quickstart.svg");
    fs_err::write(&path, draw(&lines))?;
    println!("wrote {}", path.display());
    Ok(())
}

/// The lines of the run itself: what was done, after what was foretold.
fn work_part(talk: &str) -> Vec<String> {
    let lines: Vec<&str> = talk.lines().collect();
    let start = lines
        .iter()
        .position(|l| l.contains("to create"))
        .map_or(0, |i| i + 1);
    lines[start..].iter().map(|l| (*l).to_owned()).collect()
}

fn draw(lines: &[String]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few dozen lines")]
    let (width, height) = (
        COLUMNS as f64 * CHARACTER_WIDTH + 32.0,
        lines.len() as f64 * LINE_HEIGHT + 32.0,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"A run of the quickstart in a terminal\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#10151c\"/>\n<g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" font-size=\"14\" fill=\"#d5dde6\" xml:space=\"preserve\">\n"
    );
    for (index, line) in lines.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a few dozen lines")]
        let y = 28.0 + index as f64 * LINE_HEIGHT;
        let _ = writeln!(svg, "<text x=\"16\" y=\"{y:.0}\">{}</text>", spans(line));
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// A line with SGR colours as `tspan`s.
fn spans(line: &str) -> String {
    let mut out = String::new();
    let (mut style, mut column) = (String::new(), 0);
    for (index, part) in line.split("\u{1b}[").enumerate() {
        let text = if index == 0 {
            part
        } else {
            let (code, text) = part.split_once('m').unwrap_or(("", part));
            style = fill(code, &style);
            text
        };
        let shown: String = text.chars().take(COLUMNS - column).collect();
        column += shown.chars().count();
        if shown.is_empty() {
            continue;
        }
        let escaped = shown
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        if style.is_empty() {
            out.push_str(&escaped);
        } else {
            let _ = write!(out, "<tspan {style}>{escaped}</tspan>");
        }
    }
    out
}

/// The attributes of an SGR code.
fn fill(code: &str, before: &str) -> String {
    let color = match code {
        "1" => return "font-weight=\"bold\" fill=\"#ffffff\"".to_owned(),
        "2" => "#7d8896",
        "31" => "#ff7b72",
        "32" => "#57d38c",
        "33" => "#e3b341",
        "35" => "#d2a8ff",
        "36" => "#76c7f2",
        "0" | "39" | "22" | "" => return String::new(),
        _ => return before.to_owned(),
    };
    format!("fill=\"{color}\"")
}
