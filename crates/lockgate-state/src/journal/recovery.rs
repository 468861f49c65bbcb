//! Reading a journal back.

use std::path::Path;

use lockgate_model::JournalEntry;
use serde::{Deserialize, Serialize};

use super::entry::decode_entry;
use super::frame;
use crate::error::StateError;
use crate::secrets::SecretsManager;
use crate::snapshot::Mark;

/// The format written and the newest one read.
const FORMAT: u64 = 1;

/// The payload of the first frame: which snapshot the run starts from.
#[derive(Serialize, Deserialize)]
pub(super) struct Opening {
    format: u64,
    serial: u64,
    base: String,
}

impl Opening {
    pub(super) fn encode(base: &Mark) -> Vec<u8> {
        let opening = Self {
            format: FORMAT,
            serial: base.serial,
            base: base.checksum.clone(),
        };
        // Numbers and texts only: encoding them cannot fail.
        serde_json::to_vec(&opening).unwrap_or_default()
    }
}

/// What could be read of a journal.
pub(crate) struct Salvaged {
    /// Entries before the end or the first broken frame.
    pub(crate) entries: Vec<JournalEntry>,
    /// Bytes that were never acknowledged and are left out.
    pub(crate) torn_bytes: u64,
    /// Where acknowledged entries are broken.
    pub(crate) damaged_at: Option<usize>,
}

/// Reads the entries that follow the snapshot `base`; `None` when the journal is part of it
/// already or never came to hold anything.
pub(crate) fn read_journal(
    path: &Path,
    bytes: &[u8],
    fencing: u64,
    base: &Mark,
    secrets: &SecretsManager,
) -> Result<Option<Salvaged>, StateError> {
    let salvaged = salvage_journal(path, bytes, fencing, base, secrets)?;
    match salvaged.as_ref().and_then(|journal| journal.damaged_at) {
        Some(at) => Err(StateError::Damaged {
            path: path.to_owned(),
            what: format!("the record at byte {at} does not match its checksum"),
        }),
        None => Ok(salvaged),
    }
}

/// As [`read_journal`], but gives what stands before a broken frame.
pub(crate) fn salvage_journal(
    path: &Path,
    bytes: &[u8],
    fencing: u64,
    base: &Mark,
    secrets: &SecretsManager,
) -> Result<Option<Salvaged>, StateError> {
    let scan = frame::scan(bytes, fencing);
    let damaged = |what: String| StateError::Damaged {
        path: path.to_owned(),
        what,
    };
    let mut payloads = scan.payloads.iter();
    let Some(first) = payloads.next() else {
        return match scan.damaged_at {
            Some(_) => Err(damaged("its first record is broken".to_owned())),
            None => Ok(None),
        };
    };
    let opening: Opening = serde_json::from_slice(&bytes[first.clone()])
        .map_err(|_| damaged("its first record is no opening".to_owned()))?;
    if opening.format > FORMAT {
        return Err(StateError::Newer {
            path: path.to_owned(),
            found: opening.format,
            known: FORMAT,
        });
    }
    if opening.serial < base.serial {
        return Ok(None);
    }
    if opening.serial > base.serial || opening.base != base.checksum {
        return Err(damaged(format!(
            "it continues snapshot {}, the stack has snapshot {} with other content",
            opening.serial, base.serial
        )));
    }
    let entries = payloads
        .enumerate()
        .map(|(index, range)| {
            let at = format!("record {} of `{}`", index + 1, path.display());
            decode_entry(&at, &bytes[range.clone()], secrets)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Salvaged {
        entries,
        torn_bytes: scan.rest as u64,
        damaged_at: scan.damaged_at,
    }))
}
