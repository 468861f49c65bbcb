//! The console as a browser shows it: two examples on one node, and some minutes of traffic.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::load::Steady;
use lockgate_testkit::{browser, example, http, vendor};

use crate::root;

/// Window of the picture, pixels.
const SIZE: (u32, u32) = (1280, 1180);
/// Requests per second of each minute: enough to see a course.
const RATES: [u32; 8] = [6, 14, 22, 18, 30, 24, 12, 16];
/// Requests to a model per minute.
const ASKED: u32 = 12;
const QUESTION: &str =
    r#"{"model":"fast","messages":[{"role":"user","content":"Say a few words."}]}"#;

/// Runs the examples, sends them traffic and takes the picture.
pub(super) fn run(exe: &Path) -> Result<()> {
    let vendor = vendor::Vendor::start(Duration::ZERO)?;
    let world = example::ai_world(exe, &root()?.join("examples/ai"), &vendor)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let models = example::endpoint(&world)?;
    // The second project lives in the folder of the first; the node takes both.
    for name in ["Pulumi.yaml", "Dockerfile", "main.rs"] {
        let text = fs_err::read_to_string(root()?.join("examples/hello").join(name))?;
        world.write(&format!("hello/{name}"), &text)?;
    }
    world.run(&["up", "--yes", "-C", "hello"])?.expect(0)?;
    let outputs = world.run(&["stack", "output", "--json", "--show-secrets", "-C", "hello"])?;
    let outputs = outputs.expect(0)?.json()?;
    let output = |name: &str| outputs[name].as_str().context("no such output");
    for rate in RATES {
        one_minute(output("url")?, output("key")?, rate, &models)?;
    }
    let link = world.run(&["console", "--open=false"])?.expect(0)?.data;
    let path = root()?.join("docs/pictures/console.png");
    let seen = browser::photograph(&world, link.trim(), SIZE, &path)?;
    ensure!(seen.complaints.is_empty(), "{:?}", seen.complaints);
    world.run(&["destroy", "--yes", "-C", "hello"])?.expect(0)?;
    world.run(&["destroy", "--yes"])?.expect(0)?;
    println!("wrote {}", path.display());
    world.close()
}

/// A minute of traffic to both examples.
fn one_minute(
    url: &str,
    key: &str,
    rate: u32,
    (models, model_key): &(String, String),
) -> Result<()> {
    let rest = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'));
    let (address, path) = rest.context("not a URL")?;
    let stream = Steady::start(address.into(), format!("/{path}"), key.into(), rate);
    let bearer = format!("Bearer {model_key}");
    for _ in 0..ASKED {
        let url = format!("{models}/chat/completions");
        let answer = http::post(&url, &[("authorization", &bearer)], QUESTION)?;
        ensure!(answer.status == 200, "{answer:?}");
        std::thread::sleep(Duration::from_secs(60) / ASKED);
    }
    stream.stop();
    Ok(())
}
