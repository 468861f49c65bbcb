//! What the tests share.

use std::path::{Path, PathBuf};

use anyhow::Result;
use lockgate_testkit::World;

/// The binary under test.
pub(crate) fn exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lockgate"))
}

/// A folder of `examples`.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name)
}

/// A world whose program is `text`.
pub(crate) fn world(text: &str) -> Result<World> {
    let world = World::new(exe())?;
    world.write("Pulumi.yaml", text)?;
    Ok(world)
}

/// A program of `count` random strings in a chain of tens.
pub(crate) fn chain(count: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("name: chain\nruntime: yaml\nresources:\n");
    for index in 0..count {
        let _ = write!(
            text,
            "  r{index}:\n    type: random:RandomString\n    properties:\n      length: 8\n"
        );
        if index % 10 != 0 {
            let _ = write!(text, "      keepers:\n        of: ${{r{}.id}}\n", index - 1);
        }
    }
    text
}

/// The names of a command's steps in JSON events, as `op name`, sorted; unchanged ones left out.
pub(crate) fn steps(output: &lockgate_testkit::Output) -> Result<Vec<String>> {
    let mut steps = Vec::new();
    for event in output.json_lines()? {
        let metadata = &event["resOutputsEvent"]["metadata"];
        let (Some(op), Some(urn)) = (metadata["op"].as_str(), metadata["urn"].as_str()) else {
            continue;
        };
        if op != "same" {
            steps.push(format!(
                "{op} {}",
                urn.rsplit("::").next().unwrap_or_default()
            ));
        }
    }
    steps.sort();
    Ok(steps)
}
