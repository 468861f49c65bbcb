//! Rules about the tree as a whole: what reaches what, and how large the parts are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::Finding;

/// Largest share of one crate in the lines of the product, in percent.
const CRATE_SHARE_MAX: usize = 25;
/// From so many lines on; a young tree has one crate for a while.
const SHARE_LINES_MIN: usize = 20_000;

/// Checks the tree of `files`, all of them known to git.
pub(super) fn check(root: &Path, files: &[String], findings: &mut Vec<Finding>) -> Result<()> {
    let known: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    let mut sources = BTreeMap::new();
    for file in files.iter().filter(|f| f.ends_with(".rs")) {
        sources.insert(file.as_str(), fs_err::read_to_string(root.join(file))?);
    }
    reach(&sources, findings);
    shares(&sources, findings);
    goldens(&known, &sources, findings);
    targets(&known, &sources, findings);
    Ok(())
}

fn finding(place: &str, text: String) -> Finding {
    Finding {
        place: place.to_owned(),
        item: place.to_owned(),
        number: None,
        text,
    }
}

/// Every module is named by the file above it; others are compiled by nobody.
fn reach(sources: &BTreeMap<&str, String>, findings: &mut Vec<Finding>) {
    for file in sources.keys() {
        let Some((folder, name)) = file.rsplit_once('/') else {
            continue;
        };
        let stem = name.trim_end_matches(".rs");
        let root = matches!(stem, "lib" | "main" | "build" | "mod")
            || folder.ends_with("/bin")
            || folder.ends_with("/examples")
            || folder.ends_with("/benches")
            || folder.ends_with("/generated");
        let above = [
            format!("{folder}.rs"),
            format!("{folder}/main.rs"),
            format!("{folder}/lib.rs"),
        ];
        let above: Vec<&String> = above
            .iter()
            .filter_map(|path| sources.get(path.as_str()))
            .collect();
        let line = format!("mod {stem};");
        let named = above.iter().any(|text| text.contains(&line));
        // Some files are included by their path.
        let included = || {
            let path = format!("/{name}\"]");
            sources.values().any(|text| text.contains(&path))
        };
        if !root && !named && !included() {
            let text = "no `mod` reaches the file, so nobody compiles it; name it or remove it";
            findings.push(finding(file, text.to_owned()));
        }
    }
}

/// No crate holds most of the product.
fn shares(sources: &BTreeMap<&str, String>, findings: &mut Vec<Finding>) {
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for (file, text) in sources {
        let mut parts = file.split('/');
        let (Some("crates"), Some(name), Some("src")) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let product = name != "lockgate-testkit"
            && !file.contains("/generated/")
            && !file.contains("/fuzzing")
            && !file.ends_with("tests.rs");
        if product {
            *lines.entry(name).or_default() += text.lines().count();
        }
    }
    let all: usize = lines.values().sum();
    for (name, count) in lines {
        let share = count * 100 / all.max(1);
        if all >= SHARE_LINES_MIN && share > CRATE_SHARE_MAX {
            findings.push(Finding {
                number: Some(share),
                ..finding(
                    &format!("crates/{name}"),
                    format!(
                        "{share} % of the product's lines, at most {CRATE_SHARE_MAX} %: what it knows is spread over too many questions; give one of them a crate"
                    ),
                )
            });
        }
    }
}

/// A golden is read by a driver, and has both halves.
fn goldens(known: &BTreeSet<&str>, sources: &BTreeMap<&str, String>, findings: &mut Vec<Finding>) {
    for file in known.iter().filter(|f| f.contains("/tests/golden/")) {
        let other = [
            (".in", ".out"),
            (".out", ".in"),
            ("/program.yaml", "/expect.txt"),
            ("/expect.txt", "/program.yaml"),
        ]
        .iter()
        .find_map(|(end, other)| Some(format!("{}{other}", file.strip_suffix(end)?)));
        match other {
            Some(other) if known.contains(other.as_str()) => {}
            Some(other) => {
                findings.push(finding(file, format!("`{other}` is missing beside it")));
            }
            None => {
                let text = "no half of a golden; its driver reads pairs";
                findings.push(finding(file, text.to_owned()));
            }
        }
        let crate_path = file.split("/tests/").next().unwrap_or_default();
        let tests = format!("{crate_path}/tests/it/");
        let driven = sources
            .iter()
            .any(|(path, text)| path.starts_with(&tests) && text.contains("tests/golden"));
        if !driven {
            let text = "no driver reads this golden; add one or remove it";
            findings.push(finding(file, text.to_owned()));
        }
    }
}

/// A fuzz target has seeds, and the normal suite runs them through its oracle.
fn targets(known: &BTreeSet<&str>, sources: &BTreeMap<&str, String>, findings: &mut Vec<Finding>) {
    let names: BTreeSet<&str> = known
        .iter()
        .filter_map(|f| f.strip_prefix("fuzz/src/bin/")?.strip_suffix(".rs"))
        .collect();
    for name in &names {
        let place = format!("fuzz/src/bin/{name}.rs");
        let seeds = format!("fuzz/seeds/{name}/");
        if !known.iter().any(|f| f.starts_with(&seeds)) {
            let text = format!("the target has no seed; put one into {seeds}");
            findings.push(finding(&place, text));
        }
        let call = format!("replay(\"{name}\"");
        if !sources.values().any(|text| text.contains(&call)) {
            let text = format!("no test runs the seeds; call `{call}, …)` in its crate");
            findings.push(finding(&place, text));
        }
    }
    for file in known {
        let rest = file.strip_prefix("fuzz/seeds/");
        let seed = rest.and_then(|rest| rest.split('/').next());
        let words = file.strip_prefix("fuzz/dictionaries/");
        let words = words.and_then(|name| name.strip_suffix(".dict"));
        if seed.or(words).is_some_and(|name| !names.contains(name)) {
            let text = "no fuzz target has this name".to_owned();
            findings.push(finding(file, text));
        }
    }
}
