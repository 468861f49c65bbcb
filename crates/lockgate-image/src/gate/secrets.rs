//! Searches every layer and the configuration for credentials.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use lockgate_model::Digest;
use regex::bytes::Regex;

use super::Finding;
use super::rules::{REFERENCE_SUFFIXES, RULES, SECRET_NAMES};
use crate::context::show;
use crate::layer::open_layer;
use crate::store::{Image, Store, StoreError};
use crate::tar::{Limits, MemberKind, TarError, TarReader};

/// Bytes searched at a time.
const WINDOW: usize = 1024 * 1024;
/// Bytes that two windows share: longer than any match of a rule.
const OVERLAP: usize = 8 * 1024;
/// Findings kept; the gate fails at the first anyway.
const FINDINGS_MAX: usize = 500;

/// Why the scan could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("read layer {0}")]
    Layer(Digest, #[source] TarError),
    #[error("compile the rules of the secret scan")]
    Rules,
}

/// Scans an image. Layers one by one: what a later layer deletes still ships.
pub(super) fn scan(store: &Store, image: &Image) -> Result<Vec<Finding>, ScanError> {
    let scanner = Scanner::new().ok_or(ScanError::Rules)?;
    let mut findings = BTreeSet::new();
    for layer in &image.manifest.layers {
        let failed = |e| ScanError::Layer(layer.digest, e);
        let mut reader = TarReader::new(open_layer(store, layer)?, Limits::default());
        while let Some(member) = reader.next_member().map_err(failed)? {
            if member.kind != MemberKind::File || member.size == 0 {
                continue;
            }
            let place = format!("{} (layer {})", show(&member.path), layer.digest);
            let hits = scanner
                .stream(&mut reader.content())
                .map_err(|e| failed(e.into()))?;
            findings.extend(hits.into_iter().map(|hit| hit.at(place.clone())));
            if findings.len() > FINDINGS_MAX {
                return Ok(findings.into_iter().take(FINDINGS_MAX).collect());
            }
        }
        reader.drain().map_err(failed)?;
    }
    config(&scanner, image, &mut findings);
    Ok(findings.into_iter().take(FINDINGS_MAX).collect())
}

fn config(scanner: &Scanner, image: &Image, findings: &mut BTreeSet<Finding>) {
    let config = &image.config.config;
    for pair in &config.env {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = format!("env {name}");
        let mut hits = scanner.text(value.as_bytes());
        if hits.is_empty() && named_like_a_secret(name) && looks_secret(value) {
            hits.push(Hit {
                rule: "secret-variable",
                title: "a value under a secret's name",
                shown: redact(value.as_bytes()),
            });
        }
        findings.extend(hits.into_iter().map(|hit| hit.at(place.clone())));
    }
    for (name, value) in &config.labels {
        findings.extend(
            scanner
                .text(value.as_bytes())
                .into_iter()
                .map(|hit| hit.at(format!("label {name}"))),
        );
    }
    let commands = [("entrypoint", &config.entrypoint), ("cmd", &config.cmd)];
    for (place, words) in commands {
        let text = words.as_deref().unwrap_or_default().join(" ");
        findings.extend(
            scanner
                .text(text.as_bytes())
                .into_iter()
                .map(|hit| hit.at(place.to_owned())),
        );
    }
    for (index, entry) in image.config.history.iter().enumerate() {
        let text = entry.created_by.as_deref().unwrap_or("");
        findings.extend(
            scanner
                .text(text.as_bytes())
                .into_iter()
                .map(|hit| hit.at(format!("history {}", index + 1))),
        );
    }
}

fn named_like_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
        && !REFERENCE_SUFFIXES.iter().any(|end| name.ends_with(end))
}

/// Neither a path, a reference nor a placeholder.
fn looks_secret(value: &str) -> bool {
    value.len() >= 8 && !value.starts_with(['/', '$', '<', '{']) && entropy(value.as_bytes()) >= 2.5
}

/// A match, already redacted.
struct Hit {
    rule: &'static str,
    title: &'static str,
    shown: String,
}

impl Hit {
    fn at(self, place: String) -> Finding {
        Finding {
            rule: self.rule.to_owned(),
            place,
            detail: format!("{}: {}", self.title, self.shown),
            ignored: None,
        }
    }
}

struct Scanner {
    keywords: AhoCorasick,
    /// Rule of each keyword.
    rule_of: Vec<usize>,
    /// Compiled when a keyword is first seen: most images need none.
    patterns: Vec<OnceLock<Option<Regex>>>,
}

impl Scanner {
    fn new() -> Option<Self> {
        let mut words = Vec::new();
        let mut rule_of = Vec::new();
        for (index, rule) in RULES.iter().enumerate() {
            for keyword in rule.keywords {
                words.push(*keyword);
                rule_of.push(index);
            }
        }
        Some(Self {
            keywords: AhoCorasick::new(words).ok()?,
            rule_of,
            patterns: RULES.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    fn stream(&self, input: &mut dyn Read) -> io::Result<Vec<Hit>> {
        let mut window = Vec::new();
        let mut hits = Vec::new();
        loop {
            let kept = window.len();
            let n = input
                .take((WINDOW - kept) as u64)
                .read_to_end(&mut window)?;
            if n == 0 {
                return Ok(hits);
            }
            hits.extend(self.text(&window));
            if window.len() < WINDOW {
                return Ok(hits);
            }
            window.drain(..WINDOW - OVERLAP);
        }
    }

    fn text(&self, text: &[u8]) -> Vec<Hit> {
        let mut wanted: Vec<usize> = self
            .keywords
            .find_overlapping_iter(text)
            .map(|m| self.rule_of[m.pattern().as_usize()])
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut hits = Vec::new();
        for index in wanted {
            let rule = &RULES[index];
            let pattern = self.patterns[index].get_or_init(|| Regex::new(rule.pattern).ok());
            let Some(pattern) = pattern else { continue };
            for found in pattern.captures_iter(text) {
                let Some(secret) = found
                    .iter()
                    .skip(1)
                    .flatten()
                    .next()
                    .or_else(|| found.get(0))
                else {
                    continue;
                };
                let secret = secret.as_bytes();
                if entropy(secret) >= rule.entropy_min && !placeholder(secret) {
                    hits.push(Hit {
                        rule: rule.id,
                        title: rule.title,
                        shown: redact(secret),
                    });
                }
            }
        }
        hits
    }
}

/// Documentation values that vendors publish.
fn placeholder(secret: &[u8]) -> bool {
    let text = String::from_utf8_lossy(secret).to_ascii_uppercase();
    text.contains("EXAMPLE") || text.contains("XXXXXX")
}

/// At most a quarter of the secret and four characters.
fn redact(secret: &[u8]) -> String {
    let text = String::from_utf8_lossy(secret);
    let count = text.chars().count();
    let head: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take((count / 4).min(4))
        .collect();
    format!("`{head}…` ({count} characters)")
}

/// Shannon entropy in bits per byte.
fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text {
        counts[usize::from(*byte)] += 1;
    }
    let total = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX)).max(1.0);
    counts
        .iter()
        .filter(|n| **n > 0)
        .map(|n| {
            let share = f64::from(*n) / total;
            -share * share.log2()
        })
        .sum()
}
