//! Gates: checks an image must pass before what uses it may happen.
//!
//! In: an image of the store, a [`GatePolicy`], ignores and the time. Out: a [`GateReport`]. A
//! check that could not be evaluated is a failed gate; nothing here repairs or contacts anyone.

mod render;
mod rules;
mod secrets;

use lockgate_model::{Digest, Timestamp};

use crate::store::{Image, Store};

pub use render::{render_json, render_table};

/// Which checks apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatePolicy {
    /// No credentials in layers, environment, labels or history.
    pub secrets: bool,
    /// Budget for the sum of the compressed layers.
    pub max_size_bytes: Option<u64>,
    /// The configuration names a numeric user other than 0.
    pub non_root: bool,
    /// Every blob is present and has the digest it is named by.
    pub by_digest: bool,
}

impl Default for GatePolicy {
    /// Secrets and digests: what no image should fail.
    fn default() -> Self {
        Self {
            secrets: true,
            max_size_bytes: None,
            non_root: false,
            by_digest: true,
        }
    }
}

/// An accepted finding. Reason and expiry are mandatory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignore {
    /// Rule of the finding, for example `private-key`.
    pub rule: String,
    /// Only findings at this place: a path of the image (or a folder of it), `env NAME`, …
    pub place: Option<String>,
    /// Why it is acceptable.
    pub reason: String,
    /// When it counts again.
    pub expires: Option<Timestamp>,
}

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that counts was found.
    Pass,
    /// Something was found.
    Fail,
    /// It could not be evaluated; counts as failed.
    CannotEvaluate,
}

/// One thing a check found. Never holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Stable id of the rule.
    pub rule: String,
    /// Where: `path (layer sha256:…)`, `env NAME`, `label NAME`, `history 3`.
    pub place: String,
    /// What, redacted.
    pub detail: String,
    /// The reason of the ignore that covers it.
    pub ignored: Option<String>,
}

/// One check with its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable id, for example `secrets`.
    pub id: &'static str,
    /// One line.
    pub title: &'static str,
    /// Result.
    pub verdict: Verdict,
    /// Everything found, ignored findings included.
    pub findings: Vec<Finding>,
}

/// All checks of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReport {
    /// The image.
    pub digest: Digest,
    /// Whether every check passed.
    pub passed: bool,
    /// In fixed order.
    pub checks: Vec<Check>,
}

/// Evaluates the checks of `policy` on the image `digest`.
pub fn evaluate(
    store: &Store,
    digest: &Digest,
    policy: &GatePolicy,
    ignores: &[Ignore],
    now: Timestamp,
) -> GateReport {
    let image = store.image(digest).map_err(|e| chain(&e));
    let mut checks = vec![ignores_check(ignores, now)];
    let mut add = |id, title, run: &dyn Fn(&Image) -> Result<Vec<Finding>, String>| {
        let found = image.as_ref().map_err(Clone::clone).and_then(run);
        checks.push(conclude(id, title, found, ignores, now));
    };
    if policy.by_digest {
        add(
            "digest",
            "content has the digests it is named by",
            &|image| verify(store, image),
        );
    }
    if let Some(max) = policy.max_size_bytes {
        add("size", "compressed size within the budget", &|image| {
            Ok(size(image, max))
        });
    }
    if policy.non_root {
        add("user", "runs as a numeric non-root user", &|image| {
            Ok(user(image))
        });
    }
    if policy.secrets {
        add(
            "secrets",
            "no credentials in layers or configuration",
            &|image| secrets::scan(store, image).map_err(|e| chain(&e)),
        );
    }
    GateReport {
        digest: *digest,
        passed: checks.iter().all(|c| c.verdict == Verdict::Pass),
        checks,
    }
}

fn conclude(
    id: &'static str,
    title: &'static str,
    found: Result<Vec<Finding>, String>,
    ignores: &[Ignore],
    now: Timestamp,
) -> Check {
    match found {
        Err(reason) => Check {
            id,
            title,
            verdict: Verdict::CannotEvaluate,
            findings: vec![Finding {
                rule: format!("{id}-unevaluated"),
                place: "image".to_owned(),
                detail: reason,
                ignored: None,
            }],
        },
        Ok(mut findings) => {
            for finding in &mut findings {
                let covering = ignores.iter().find(|i| {
                    complete(i) && i.expires.is_some_and(|e| e > now) && covers(i, finding)
                });
                finding.ignored = covering.map(|i| i.reason.clone());
            }
            let counts = findings.iter().any(|f| f.ignored.is_none());
            Check {
                id,
                title,
                verdict: if counts { Verdict::Fail } else { Verdict::Pass },
                findings,
            }
        }
    }
}

fn complete(ignore: &Ignore) -> bool {
    !ignore.reason.trim().is_empty() && ignore.expires.is_some()
}

/// The rule is the same, and the place is the one named or below it.
fn covers(ignore: &Ignore, finding: &Finding) -> bool {
    let here = |place: &str| {
        let rest = finding.place.strip_prefix(place.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with(" ("))
    };
    ignore.rule == finding.rule && ignore.place.as_deref().is_none_or(here)
}

/// Expired and incomplete ignores are findings themselves.
fn ignores_check(ignores: &[Ignore], now: Timestamp) -> Check {
    let findings: Vec<Finding> = ignores
        .iter()
        .filter_map(|ignore| {
            let (rule, detail) = match ignore.expires {
                _ if ignore.reason.trim().is_empty() => {
                    ("ignore-incomplete", "it has no reason".to_owned())
                }
                None => ("ignore-incomplete", "it has no expiry date".to_owned()),
                Some(expires) if expires <= now => {
                    ("ignore-expired", format!("it expired at {expires}"))
                }
                Some(_) => return None,
            };
            Some(Finding {
                rule: rule.to_owned(),
                place: format!("ignore of {}", ignore.rule),
                detail,
                ignored: None,
            })
        })
        .collect();
    let verdict = if findings.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Fail
    };
    Check {
        id: "ignores",
        title: "ignores have a reason and have not expired",
        verdict,
        findings,
    }
}

fn verify(store: &Store, image: &Image) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for layer in &image.manifest.layers {
        let mut reader = store.reader(&layer.digest).map_err(|e| chain(&e))?;
        match std::io::copy(&mut reader, &mut std::io::sink()) {
            Ok(size) if size == layer.size => {}
            Ok(size) => findings.push(mismatch(
                layer.digest,
                format!("it has {size} bytes, the manifest says {}", layer.size),
            )),
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                findings.push(mismatch(layer.digest, e.to_string()))
            }
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok(findings)
}

fn mismatch(layer: Digest, detail: String) -> Finding {
    Finding {
        rule: "digest-mismatch".to_owned(),
        place: format!("layer {layer}"),
        detail,
        ignored: None,
    }
}

fn size(image: &Image, max: u64) -> Vec<Finding> {
    let total: u64 = image.manifest.layers.iter().map(|l| l.size).sum();
    if total <= max {
        return Vec::new();
    }
    let detail = format!("{total} bytes compressed, the budget is {max}");
    vec![Finding {
        rule: "size-budget".to_owned(),
        place: "image".to_owned(),
        detail,
        ignored: None,
    }]
}

fn user(image: &Image) -> Vec<Finding> {
    let user = image.config.config.user.as_str();
    let name = user.split(':').next().unwrap_or("");
    let detail = match name.parse::<u32>() {
        Ok(0) => "the user is 0".to_owned(),
        Ok(_) => return Vec::new(),
        Err(_) if name.is_empty() => "no user is set, so it runs as root".to_owned(),
        Err(_) => format!("the user `{name}` is not a number, so it could be root"),
    };
    vec![Finding {
        rule: "root-user".to_owned(),
        place: "config".to_owned(),
        detail,
        ignored: None,
    }]
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        text.push_str(": ");
        text.push_str(&e.to_string());
        next = e.source();
    }
    text
}

#[cfg(test)]
mod tests;
