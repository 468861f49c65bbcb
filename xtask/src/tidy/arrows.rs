//! Which crate may depend on which, read from ARCHITECTURE.md and compared both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Finding;

/// Libraries that only some crates may name, with the reason.
const HOMES: &[(&str, &[&str], &str)] = &[
    (
        "axum",
        &["lockgate-api"],
        "only the API speaks through a web framework",
    ),
    ("sqlx", &["lockgate-store"], "SQL is written in one place"),
    (
        "clap",
        &["lockgate"],
        "settings are values below the command line",
    ),
    (
        "httparse",
        &["lockgate-gateway"],
        "the data plane's parser stays in the data plane",
    ),
    ("tonic", &["lockgate-pulumi"], "protocols live at the rim"),
];

/// Compares `cargo metadata` with the arrow table.
pub(super) fn check(root: &Path, findings: &mut Vec<Finding>) -> Result<()> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("start `cargo metadata`")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let table = fs_err::read_to_string(root.join("ARCHITECTURE.md"))?;
    let allowed = parse_table(&table);
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let normal = package["dependencies"].as_array().into_iter().flatten();
        let normal: BTreeSet<&str> = normal
            .filter(|d| d["kind"].is_null())
            .filter_map(|d| d["name"].as_str())
            .collect();
        homes(name, &normal, findings);
        if name == "lockgate" || name == "xtask" || name == "lockgate-testkit" {
            continue;
        }
        let ours: BTreeSet<String> = normal
            .iter()
            .filter(|d| d.starts_with("lockgate-"))
            .map(|d| (*d).to_owned())
            .collect();
        let Some(stated) = allowed.get(name) else {
            findings.push(arrow(
                name,
                "the crate is not in the arrow table; add its row",
            ));
            continue;
        };
        for missing in ours.difference(stated) {
            let text = format!(
                "depends on `{missing}`, which the table does not allow; turn the call around with a trait, or change the table by an ADR"
            );
            findings.push(arrow(name, &text));
        }
        for extra in stated.difference(&ours) {
            let text = format!(
                "the table states an arrow to `{extra}` that is not there; remove it from the table"
            );
            findings.push(arrow(name, &text));
        }
    }
    Ok(())
}

fn homes(name: &str, dependencies: &BTreeSet<&str>, findings: &mut Vec<Finding>) {
    for (library, homes, reason) in HOMES {
        if dependencies.contains(library) && !homes.contains(&name) {
            let text = format!(
                "uses `{library}`: {reason}; go through {}",
                homes.join(", ")
            );
            findings.push(arrow(name, &text));
        }
    }
}

fn arrow(name: &str, text: &str) -> Finding {
    let place = format!("crates/{name}/Cargo.toml");
    Finding {
        item: place.clone(),
        place,
        number: None,
        text: text.to_owned(),
    }
}

/// Rows `| \`crate\` | what it is | \`dep\`, \`dep\` |` of the arrow table.
fn parse_table(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|l| l.starts_with("| `lockgate-")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, .., arrows] = cells.as_slice() else {
            continue;
        };
        let arrows = arrows
            .split(',')
            .map(|a| a.trim().trim_matches('`'))
            .filter(|a| !a.is_empty() && *a != "–")
            .map(|a| format!("lockgate-{a}"))
            .collect();
        rows.insert(name.trim_matches('`').to_owned(), arrows);
    }
    rows
}
