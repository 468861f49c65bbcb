//! `cargo xtask codegen`: reference pages generated from code and bindings generated from protocol
//! files; `--check` fails when one is stale.

mod compatibility;
mod pages;

use anyhow::{Context as _, Result, bail};

use crate::root;

/// Writes every generated page, or compares it.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = root()?;
    let mut stale = Vec::new();
    for (name, text) in [
        ("docs/reference/diagnostics.md", pages::diagnostics()),
        ("docs/reference/settings.md", pages::settings()),
        (
            "docs/reference/packages.md",
            pages::packages(&root.join(SCHEMAS))?,
        ),
        (
            "docs/reference/compatibility.md",
            compatibility::page(&root.join(COMPATIBILITY))?,
        ),
        (BINDINGS, bindings()?),
    ] {
        let path = root.join(name);
        let current = fs_err::read_to_string(&path).unwrap_or_default();
        if current == text {
            continue;
        }
        if check {
            stale.push(name);
        } else {
            fs_err::create_dir_all(path.parent().context("a generated file lies in a folder")?)?;
            fs_err::write(&path, text)?;
        }
    }
    if !stale.is_empty() {
        bail!("stale: {}; run `cargo xtask codegen`", stale.join(", "));
    }
    Ok(())
}

const COMPATIBILITY: &str = "crates/lockgate/tests/compatibility";
const SCHEMAS: &str = "crates/lockgate-packages/schemas";
const BINDINGS: &str = "crates/lockgate-pulumi/src/generated/pulumirpc.rs";

/// The bindings of the programs' protocol, from our own files and without `protoc`.
fn bindings() -> Result<String> {
    let includes = root()?.join("crates/lockgate-pulumi/proto");
    let files = ["engine", "resource"].map(|name| includes.join(format!("pulumi/{name}.proto")));
    let descriptors = protox::compile(files, [&includes]).context("compile the protocol files")?;
    let out = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .context("generate bindings")?;
    Ok(fs_err::read_to_string(out.path().join("pulumirpc.rs"))?)
}
