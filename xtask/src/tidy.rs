//! House rules over the tree. Each finding says what, why, and what to do instead.
//!
//! `tidy.toml` is the ratchet: it lists today's exceptions by item and number. A number may fall,
//! never rise; an entry that is no longer needed must go.

mod arrows;
mod text;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::root;

/// One broken rule at one place.
#[derive(Debug)]
pub(crate) struct Finding {
    /// `path` or `path:line`.
    pub(crate) place: String,
    /// What is counted, for the ratchet: `path` for files, `path fn name` for functions.
    pub(crate) item: String,
    /// The count, where the rule has one.
    pub(crate) number: Option<usize>,
    /// What, why, what instead.
    pub(crate) text: String,
}

/// Checks everything; prints each finding; fails if there is one.
pub(crate) fn run() -> Result<()> {
    let root = root()?;
    let files = tracked(&root)?;
    let mut findings = Vec::new();
    // Generated code follows its generator; `codegen --check` keeps it current.
    for file in files
        .iter()
        .filter(|f| f.ends_with(".rs") && !f.contains("/generated/"))
    {
        let source = fs_err::read_to_string(root.join(file))?;
        text::check(file, &source, &mut findings);
    }
    tree::check(&root, &files, &mut findings)?;
    arrows::check(&root, &mut findings)?;
    let mut exceptions = ratchet(&root)?;
    findings.retain(
        |finding| match (exceptions.remove(&finding.item), finding.number) {
            (Some(allowed), Some(number)) => number > allowed,
            _ => true,
        },
    );
    for item in exceptions.keys() {
        findings.push(Finding {
            place: "tidy.toml".to_owned(),
            item: item.clone(),
            number: None,
            text: format!(
                "`{item}` keeps the rule now; remove its exception so it cannot come back"
            ),
        });
    }
    for finding in &findings {
        println!("{}: {}", finding.place, finding.text);
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}

/// Files that git knows or would add.
fn tracked(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("start `git`")?;
    let text = String::from_utf8(output.stdout).context("a file name that is not UTF-8")?;
    Ok(text
        .lines()
        .filter(|l| root.join(l).is_file())
        .map(str::to_owned)
        .collect())
}

/// The exceptions of `tidy.toml`: lines `"item" = number`.
fn ratchet(root: &Path) -> Result<BTreeMap<String, usize>> {
    let path = root.join("tidy.toml");
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let mut entries = BTreeMap::new();
    for line in fs_err::read_to_string(&path)?.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('[') {
            continue;
        }
        let (item, number) = line
            .rsplit_once('=')
            .with_context(|| format!("tidy.toml: {line}"))?;
        let number = number
            .trim()
            .parse()
            .with_context(|| format!("tidy.toml: {line}"))?;
        entries.insert(item.trim().trim_matches('"').to_owned(), number);
    }
    Ok(entries)
}
