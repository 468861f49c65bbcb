//! The lease record: what its file holds.

use std::fmt;
use std::path::Path;

use lockgate_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::LEASE_TTL;
use crate::error::StateError;
use crate::files::read_optional;

/// The format written and the newest one read.
const FORMAT: u64 = 1;
/// A record is a few hundred bytes.
const BYTES_MAX: u64 = 64 * 1024;

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// What it does, for example `lockgate up`.
    pub purpose: String,
    /// Process id on its machine.
    pub pid: u32,
    /// When the process started, in the machine's own units; tells a reused pid apart.
    pub start: Option<u64>,
    /// Names one boot of one machine, and the process-id namespace in it.
    pub machine: Option<String>,
    /// Host name, for people.
    pub host: String,
    /// Since when, nanoseconds of wall time.
    pub since: i64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` (process {} on {}) since {}",
            self.purpose,
            self.pid,
            self.host,
            Timestamp::from_secs(Timestamp(self.since).as_secs())
        )
    }
}

/// The content of the lease file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u64,
    /// Grows with each holder, and with each cancellation.
    pub(crate) fencing: u64,
    /// Wall time in nanoseconds.
    #[serde(with = "nanos")]
    pub(crate) expires: Timestamp,
    /// Serial of the newest snapshot: an older one was put back by hand.
    pub(crate) serial: u64,
    pub(crate) holder: Option<Holder>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            format: FORMAT,
            fencing: 0,
            expires: Timestamp::default(),
            serial: 0,
            holder: None,
        }
    }
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Numbers and texts only: encoding them cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether the holder is within its time. An expiry far ahead means that the wall clock was
    /// set back, and counts as expired: the fencing number keeps that safe.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        let left = self.expires.0.saturating_sub(now.0);
        let ttl = i64::try_from(LEASE_TTL.as_nanos()).unwrap_or(i64::MAX);
        left > 0 && left <= ttl.saturating_mul(2)
    }
}

/// Reads the lease file.
pub(super) fn load_record(path: &Path) -> Result<Record, StateError> {
    let Some(bytes) = read_optional(path, BYTES_MAX)? else {
        return Ok(Record::default());
    };
    let record: Record = serde_json::from_slice(&bytes).map_err(|_| StateError::Damaged {
        path: path.to_owned(),
        what: "it holds no lease record".to_owned(),
    })?;
    if record.format > FORMAT {
        return Err(StateError::Newer {
            path: path.to_owned(),
            found: record.format,
            known: FORMAT,
        });
    }
    Ok(record)
}

mod nanos {
    use lockgate_model::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_i64(time.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(input).map(Timestamp)
    }
}
