//! The snapshot file: deployment JSON in an envelope with a serial number and a checksum.
//!
//! One JSON object, `{"format":1,"serial":S,"fencing":F,"state":{…},"checksum":"…"}`. The
//! checksum is the BLAKE3 of all bytes before `,"checksum"`, at the end so that the state can
//! stream to disk.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_model::{Clock, Snapshot};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::deployment::{ExportedSecrets, Locked, check_integrity, decode_with, encode_deployment};
use crate::error::StateError;
use crate::files::{Disk, JOURNAL_REMOVE, SNAPSHOT, TEMPORARY, read_optional, remove_if_exists};
use crate::lease::{Fence, LeaseFiles};
use crate::name::StackName;
use crate::secrets::{Keyring, SecretsError, SecretsManager};

/// The format written and the newest one read.
const FORMAT: u64 = 1;
/// A larger state would not fit into memory with all that is made of it.
pub(crate) const STATE_BYTES_MAX: u64 = 4 << 30;
const HEAD: &str = "{\"format\":";
const TAIL: &str = ",\"checksum\":\"";
const TAIL_END: &str = "\"}\n";
const CHECKSUM_HEX: usize = 64;

/// The files of one stack.
#[derive(Clone)]
pub(crate) struct StackFolder {
    pub(crate) stack: StackName,
    pub(crate) path: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<dyn Clock>,
}

impl StackFolder {
    pub(crate) fn snapshot(&self) -> PathBuf {
        self.path.join("snapshot.json")
    }

    pub(crate) fn backup(&self) -> PathBuf {
        self.path.join("snapshot.json.bak")
    }

    pub(crate) fn history(&self) -> PathBuf {
        self.path.join("history")
    }

    /// The journal of the run with this fencing number.
    pub(crate) fn journal(&self, fencing: u64) -> PathBuf {
        self.path.join(format!("{JOURNAL_PREFIX}{fencing:010}"))
    }

    /// Every journal file with its fencing number, oldest first.
    pub(crate) fn list_journals(&self) -> Result<Vec<(u64, PathBuf)>, StateError> {
        let files = self.list_files()?.into_iter();
        let mut journals: Vec<(u64, PathBuf)> = files
            .filter_map(|(name, path)| {
                let digits = name.strip_prefix(JOURNAL_PREFIX)?;
                Some((digits.parse().ok()?, path))
            })
            .collect();
        journals.sort();
        Ok(journals)
    }

    fn list_files(&self) -> Result<Vec<(String, PathBuf)>, StateError> {
        let entries = match fs_err::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StateError::NoStack(self.stack.clone()));
            }
            Err(error) => return Err(StateError::io("list", &self.path)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StateError::io("list", &self.path))?;
            if let Ok(name) = entry.file_name().into_string() {
                files.push((name, entry.path()));
            }
        }
        Ok(files)
    }

    /// The highest fencing number that a file of the stack was written under.
    pub(crate) fn fencing_floor(&self) -> Result<u64, StateError> {
        let journal = self
            .list_journals()?
            .last()
            .map_or(0, |(fencing, _)| *fencing);
        let bytes = read_snapshot(&self.snapshot())?.unwrap_or_default();
        // A damaged snapshot has no number to trust, and says so when it is loaded.
        let envelope = serde_json::from_slice::<Envelope<'_>>(&bytes);
        Ok(journal.max(envelope.map_or(0, |envelope| envelope.fencing)))
    }

    pub(crate) fn lease_files(&self) -> LeaseFiles {
        LeaseFiles::new(
            self.stack.clone(),
            &self.path,
            self.disk.clone(),
            Arc::clone(&self.clock),
        )
    }
}

const JOURNAL_PREFIX: &str = "journal-";

/// A snapshot as it is on disk, with what a journal needs to refer to it.
pub(crate) struct Stored {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) secrets: SecretsManager,
    pub(crate) mark: Mark,
    /// Why its secrets are unknown, when that was allowed.
    pub(crate) locked: Option<SecretsError>,
}

/// Names one written snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Counts the snapshots written for the stack.
    pub(crate) serial: u64,
    /// Checksum of the file, hex.
    pub(crate) checksum: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    serial: u64,
    fencing: u64,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// The bytes of a snapshot file; `None` when there is no file.
pub(crate) fn read_snapshot(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    read_optional(path, STATE_BYTES_MAX)
}

/// Checks and decodes the bytes of a snapshot file.
pub(crate) fn decode_snapshot(
    path: &Path,
    bytes: &[u8],
    keyring: &Keyring,
    locked: Locked,
) -> Result<Stored, StateError> {
    let damaged = |what: &str| StateError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let format = bytes
        .strip_prefix(HEAD.as_bytes())
        .and_then(|rest| rest.split(|b| *b == b',').next())
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok())
        .ok_or_else(|| damaged("it is no snapshot"))?;
    if format > FORMAT {
        return Err(StateError::Newer {
            path: path.to_owned(),
            found: format,
            known: FORMAT,
        });
    }
    let tail_bytes = TAIL.len() + CHECKSUM_HEX + TAIL_END.len();
    let (body, tail) = bytes
        .len()
        .checked_sub(tail_bytes)
        .map(|at| bytes.split_at(at))
        .ok_or_else(|| damaged("it is cut short"))?;
    let checksum = std::str::from_utf8(tail)
        .ok()
        .and_then(|tail| tail.strip_prefix(TAIL)?.strip_suffix(TAIL_END))
        .ok_or_else(|| damaged("it does not end with a checksum"))?;
    if blake3::hash(body).to_hex().as_str() != checksum {
        return Err(damaged("its checksum does not match its content"));
    }
    let envelope: Envelope<'_> =
        serde_json::from_slice(bytes).map_err(|_| damaged("it is no JSON"))?;
    let decoded = decode_with(envelope.state.get(), keyring, locked)?;
    Ok(Stored {
        snapshot: Arc::new(decoded.snapshot),
        locked: decoded.locked,
        secrets: decoded
            .secrets
            .ok_or_else(|| damaged("it names no secrets provider"))?,
        mark: Mark {
            serial: envelope.serial,
            checksum: checksum.to_owned(),
        },
    })
}

/// Writes the envelope around a state.
pub(crate) fn encode_snapshot(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    secrets: &SecretsManager,
    serial: u64,
    fencing: u64,
    clock: &dyn Clock,
) -> Result<String, StateError> {
    let mut hashed = HashedWriter {
        out,
        hasher: blake3::Hasher::new(),
    };
    let write = StateError::io("write", "the snapshot");
    let head = format!("{HEAD}{FORMAT},\"serial\":{serial},\"fencing\":{fencing},\"state\":");
    hashed.write_all(head.as_bytes()).map_err(write)?;
    encode_deployment(
        &mut hashed,
        snapshot,
        secrets,
        ExportedSecrets::Encrypted,
        clock.now(),
    )?;
    let HashedWriter { out, hasher } = hashed;
    let checksum = hasher.finalize().to_hex().to_string();
    out.write_all(format!("{TAIL}{checksum}{TAIL_END}").as_bytes())
        .map_err(StateError::io("write", "the snapshot"))?;
    Ok(checksum)
}

struct HashedWriter<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl Write for HashedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Checks `snapshot` and makes it the stack's state, under `fence`; every journal is then part
/// of it and is removed. An inconsistent snapshot is refused before anything is touched.
pub(crate) fn commit_snapshot(
    folder: &StackFolder,
    fence: &Fence,
    snapshot: &Snapshot,
    secrets: &SecretsManager,
    serial: u64,
) -> Result<Mark, StateError> {
    check_integrity(snapshot)?;
    let path = folder.snapshot();
    let mut checksum = String::new();
    let prepared = folder
        .disk
        .prepare_file(&SNAPSHOT, &path, fence.fencing, |out| {
            let clock = folder.clock.as_ref();
            checksum = encode_snapshot(out, snapshot, secrets, serial, fence.fencing, clock)?;
            Ok(())
        })?;
    let mut prepared = Some(prepared);
    let written = fence.write(|| {
        folder.disk.keep_backup(&path, &folder.backup())?;
        if let Some(prepared) = prepared.take() {
            prepared.publish(&folder.disk, &SNAPSHOT)?;
        }
        remove_journals(folder)?;
        fence.note_serial(serial)
    });
    if let Some(unused) = prepared {
        unused.discard()?;
    }
    written?;
    Ok(Mark { serial, checksum })
}

/// Removes every journal, and files that were never finished; call it under the lock, where
/// nobody writes.
pub(crate) fn remove_journals(folder: &StackFolder) -> Result<(), StateError> {
    for (name, path) in folder.list_files()? {
        if name.ends_with(TEMPORARY) {
            remove_if_exists(&path)?;
        }
    }
    for (_, journal) in folder.list_journals()? {
        folder
            .disk
            .at(&JOURNAL_REMOVE, || remove_if_exists(&journal))?;
    }
    Ok(())
}
