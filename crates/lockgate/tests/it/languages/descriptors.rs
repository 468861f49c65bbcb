//! Our protocol files against the descriptors that the published SDK carries: whatever we state
//! must be stated there too, and the same.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::languages::{Language, packages};
use prost::Message as _;

use crate::support::exe;

const COMPARE: &str = include_str!("descriptors.py");

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../lockgate-pulumi/proto")
}

/// Compares the protocol files in `folder` with those of the SDK; what it prints on a difference.
fn compare(folder: &Path) -> Result<std::process::Output> {
    let files = ["engine", "resource"].map(|name| folder.join(format!("pulumi/{name}.proto")));
    let descriptors = protox::compile(files, [folder])?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("descriptors.bin");
    fs_err::write(&file, descriptors.encode_to_vec())?;
    let python = packages(exe(), Language::Python)?.join("bin/python");
    Command::new(python)
        .args(["-c", COMPARE])
        .arg(&file)
        .output()
        .context("start the comparison")
}

#[test]
fn our_protocol_files_state_what_the_sdk_states() -> Result<()> {
    let output = compare(&folder())?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("pulumirpc.RegisterResourceRequest"),
        "nothing was compared: {text}"
    );
    Ok(())
}

#[test]
fn an_invented_field_and_a_wrong_type_are_caught() -> Result<()> {
    let dir = tempfile::tempdir()?;
    fs_err::create_dir_all(dir.path().join("pulumi"))?;
    for entry in fs_err::read_dir(folder().join("pulumi"))? {
        let entry = entry?;
        let text = fs_err::read_to_string(entry.path())?.replace(
            "int32 streamId = 4;",
            "int64 streamId = 4;\n  string invented = 99;",
        );
        fs_err::write(dir.path().join("pulumi").join(entry.file_name()), text)?;
    }
    let output = compare(dir.path())?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    for expected in ["LogRequest 4", "LogRequest 99"] {
        assert!(text.contains(expected), "no {expected}: {text}");
    }
    Ok(())
}
