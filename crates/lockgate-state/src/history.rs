//! Past runs of a stack: one JSON file per run, numbered upwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lockgate_model::{Digest, StepOp, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::StateError;
use crate::files::{Disk, HISTORY, read_optional};
use crate::lease::Fence;
use crate::snapshot::StackFolder;

/// The format written and the newest one read.
const FORMAT: u64 = 1;
/// An entry holds a few texts per config value and image.
const BYTES_MAX: u64 = 16 << 20;

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// `up`.
    Update,
    /// `preview`.
    Preview,
    /// `refresh`.
    Refresh,
    /// `destroy`.
    Destroy,
    /// `import` of resources.
    Import,
    /// `rollback`.
    Rollback,
    /// An edit by `state` or `stack rename`.
    State,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunResult {
    /// It runs, or it was killed.
    InProgress,
    /// Well.
    Succeeded,
    /// Not well.
    Failed,
}

/// A config value of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigEntry {
    /// Anybody may read it.
    Plain(String),
    /// A cell, as in the stack file. Never the plaintext.
    Secure(String),
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    /// Number of the run, from [`crate::Backend::next_history_version`].
    pub version: u64,
    /// What it did.
    pub kind: RunKind,
    /// When it started.
    pub start: Timestamp,
    /// When it ended; `None` while it runs.
    pub end: Option<Timestamp>,
    /// Words of the user, or the message of the program's commit.
    pub message: String,
    /// Facts about where it ran, for example `git.head`.
    pub environment: BTreeMap<String, String>,
    /// The stack config it ran with.
    pub config: BTreeMap<String, ConfigEntry>,
    /// How it ended.
    pub result: RunResult,
    /// Steps by operation.
    pub resource_changes: BTreeMap<StepOp, u64>,
    /// Images in use after it, by the name of what uses them: what a rollback goes back to.
    pub images: BTreeMap<String, Digest>,
}

/// A page of history, newest first.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HistoryPage {
    /// The entries.
    pub entries: Vec<HistoryEntry>,
    /// Pass it as `before` to get the next page; `None` on the last one.
    pub next: Option<u64>,
}

/// The stored form; keys follow the engine guide, section 13.4.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    format: u64,
    version: u64,
    kind: RunKind,
    start_time: i64,
    end_time: Option<i64>,
    message: String,
    environment: BTreeMap<String, String>,
    config: BTreeMap<String, ConfigWire>,
    result: RunResult,
    resource_changes: BTreeMap<String, u64>,
    #[serde(default)]
    images: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct ConfigWire {
    value: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    secret: bool,
}

impl From<&HistoryEntry> for Wire {
    fn from(entry: &HistoryEntry) -> Self {
        let config = entry.config.iter().map(|(key, value)| {
            let (value, secret) = match value {
                ConfigEntry::Plain(text) => (text, false),
                ConfigEntry::Secure(cell) => (cell, true),
            };
            let value = value.clone();
            (key.clone(), ConfigWire { value, secret })
        });
        let changes = entry.resource_changes.iter();
        let images = entry.images.iter();
        Self {
            format: FORMAT,
            version: entry.version,
            kind: entry.kind,
            start_time: entry.start.as_secs(),
            end_time: entry.end.map(Timestamp::as_secs),
            message: entry.message.clone(),
            environment: entry.environment.clone(),
            config: config.collect(),
            result: entry.result,
            resource_changes: changes
                .map(|(op, count)| (op.as_str().to_owned(), *count))
                .collect(),
            images: images
                .map(|(name, digest)| (name.clone(), digest.to_string()))
                .collect(),
        }
    }
}

impl Wire {
    /// The entry, or what is wrong with the stored one.
    fn into_entry(self) -> Result<HistoryEntry, String> {
        let config = self.config.into_iter().map(|(key, wire)| {
            let value = if wire.secret {
                ConfigEntry::Secure(wire.value)
            } else {
                ConfigEntry::Plain(wire.value)
            };
            (key, value)
        });
        let changes = self.resource_changes.into_iter().map(|(word, count)| {
            StepOp::ALL
                .into_iter()
                .find(|op| op.as_str() == word)
                .map(|op| (op, count))
                .ok_or_else(|| format!("`{word}` is no operation"))
        });
        let images = self.images.into_iter().map(|(name, text)| {
            let digest = Digest::parse(&text).map_err(|_| format!("`{text}` is no digest"))?;
            Ok::<_, String>((name, digest))
        });
        Ok(HistoryEntry {
            version: self.version,
            kind: self.kind,
            start: Timestamp::from_secs(self.start_time),
            end: self.end_time.map(Timestamp::from_secs),
            message: self.message,
            environment: self.environment,
            config: config.collect(),
            result: self.result,
            resource_changes: changes.collect::<Result<_, _>>()?,
            images: images.collect::<Result<_, _>>()?,
        })
    }
}

/// Copies the entries of one stack to another that is being made; none is fine.
pub(crate) fn copy_all(disk: &Disk, from: &Path, to: &Path) -> Result<(), StateError> {
    let entries = match fs_err::read_dir(from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(StateError::io("list", from))?,
    };
    disk.create_folder(to)?;
    for entry in entries {
        let entry = entry.map_err(StateError::io("list", from))?;
        let Some(bytes) = read_optional(&entry.path(), BYTES_MAX)? else {
            continue;
        };
        disk.write_file(&HISTORY, &to.join(entry.file_name()), &bytes)?;
    }
    disk.sync_folder(to)
}

fn entry_path(folder: &StackFolder, version: u64) -> PathBuf {
    folder.history().join(format!("{version:010}.json"))
}

/// Writes an entry under the lease; one with the same version is replaced.
pub(crate) fn save_entry(
    folder: &StackFolder,
    fence: &Fence,
    entry: &HistoryEntry,
) -> Result<(), StateError> {
    let path = entry_path(folder, entry.version);
    // Numbers and texts only: encoding them cannot fail.
    let mut text = serde_json::to_vec_pretty(&Wire::from(entry)).unwrap_or_default();
    text.push(b'\n');
    fence.write(|| {
        folder.disk.create_folder(&folder.history())?;
        folder.disk.write_file(&HISTORY, &path, &text)
    })
}

/// The numbers of all entries, ascending.
pub(crate) fn list_versions(folder: &StackFolder) -> Result<Vec<u64>, StateError> {
    let path = folder.history();
    let entries = match fs_err::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StateError::io("list", &path)(error)),
    };
    let mut versions = Vec::new();
    for entry in entries {
        let name = entry.map_err(StateError::io("list", &path))?.file_name();
        let version = name
            .to_str()
            .and_then(|name| name.strip_suffix(".json"))
            .and_then(|digits| digits.parse::<u64>().ok());
        versions.extend(version);
    }
    versions.sort_unstable();
    Ok(versions)
}

/// One entry; `None` when there is none of this number.
pub(crate) fn find_entry(
    folder: &StackFolder,
    version: u64,
) -> Result<Option<HistoryEntry>, StateError> {
    let path = entry_path(folder, version);
    let Some(bytes) = read_optional(&path, BYTES_MAX)? else {
        return Ok(None);
    };
    let damaged = |what: String| StateError::Damaged {
        path: path.clone(),
        what,
    };
    let wire: Wire = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(format!("no history entry at line {}", error.line())))?;
    if wire.format > FORMAT {
        return Err(StateError::Newer {
            path,
            found: wire.format,
            known: FORMAT,
        });
    }
    wire.into_entry().map_err(damaged).map(Some)
}

/// Up to `limit` entries older than `before`, newest first.
pub(crate) fn load_page(
    folder: &StackFolder,
    before: Option<u64>,
    limit: usize,
) -> Result<HistoryPage, StateError> {
    let mut versions = list_versions(folder)?;
    versions.retain(|version| before.is_none_or(|before| *version < before));
    let older = versions.len().saturating_sub(limit);
    let mut page = HistoryPage::default();
    for version in versions[older..].iter().rev() {
        page.entries.extend(find_entry(folder, *version)?);
    }
    page.next = (older > 0).then(|| versions[older]);
    Ok(page)
}
