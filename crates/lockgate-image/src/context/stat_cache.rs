//! Remembers content hashes by what `stat` says, so that an unchanged file is not read again.
//!
//! An entry is trusted only if the file's times are strictly older than the stamp of the scan
//! that recorded it: a later write in the same clock tick would be invisible otherwise. One file
//! per context root, records of fixed size sorted by path hash.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::time::{ClockId, clock_gettime};

use super::hash::ContentHash;
use super::{Stat, Tree};
use crate::store::write_atomically;

/// First bytes of the file: format and its number.
const MAGIC: &[u8; 8] = b"lgstat01";
const HEADER: usize = 8 + 8 + 8;
const RECORD: usize = 8 + 8 + 8 + 8 + 8 + 8 + 4 + 32;
/// Largest cache that is read: 4 million records.
const CACHE_BYTES_MAX: u64 = (4_000_000 * RECORD + HEADER) as u64;
/// Records of files this build did not look at are kept up to this many beyond those it did, so
/// that two images of one context do not forget each other's files.
const CARRIED_EXTRA: usize = 65_536;

/// File systems whose times are known to be reliable on one machine (`statfs(2)` magic numbers:
/// ext, xfs, btrfs, tmpfs, overlay). On any other every file is read.
const TRUSTED_FILE_SYSTEMS: [u64; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630];

/// The coarse real-time clock in nanoseconds: the one the kernel stamps files with. The precise
/// clock runs up to a tick ahead of it and would make racy entries look old.
pub(crate) fn coarse_now() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    now.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec)
}

/// The cache of one context root.
pub(crate) struct StatCache {
    path: Option<PathBuf>,
    device: u64,
    /// Stamp of the scan that wrote `records`.
    stamp: i64,
    records: Vec<u8>,
}

/// A hash to remember.
pub(crate) struct Learned {
    pub(crate) path_hash: u64,
    pub(crate) stat: Stat,
    pub(crate) hash: ContentHash,
}

pub(crate) fn path_hash(path: &[u8]) -> u64 {
    let hash = blake3::hash(path);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default())
}

impl StatCache {
    /// Opens the cache for the root of `tree`; a missing, damaged or future one is empty.
    /// `now` is the stamp of the scan that starts.
    pub(crate) fn open(folder: &Path, tree: &Tree, now: i64) -> Self {
        let nothing = Self {
            path: None,
            device: 0,
            stamp: i64::MIN,
            records: Vec::new(),
        };
        let Some(root) = &tree.root else {
            return nothing;
        };
        let Ok(root) = fs::canonicalize(root) else {
            return nothing;
        };
        let trusted = rustix::fs::statfs(&root)
            .is_ok_and(|s| TRUSTED_FILE_SYSTEMS.contains(&u64::try_from(s.f_type).unwrap_or(0)));
        let Ok(metadata) = fs::metadata(&root) else {
            return nothing;
        };
        if !trusted {
            return nothing;
        }
        use std::os::unix::ffi::OsStrExt as _;
        let name = blake3::hash(root.as_os_str().as_bytes()).to_hex();
        let path = folder.join(&name.as_str()[..32]);
        let mut cache = Self {
            path: Some(path.clone()),
            device: Stat::of(&metadata).dev,
            ..nothing
        };
        let small = fs::metadata(&path).is_ok_and(|m| m.len() <= CACHE_BYTES_MAX);
        if small && let Ok(bytes) = fs::read(&path) {
            cache.read(bytes, now);
        }
        cache
    }

    fn read(&mut self, mut bytes: Vec<u8>, now: i64) {
        let word = |at: usize| {
            bytes
                .get(at..at + 8)
                .and_then(|b| b.try_into().ok())
                .map(i64::from_le_bytes)
        };
        let (Some(stamp), Some(checksum)) = (word(8), word(16)) else {
            return;
        };
        let body = bytes.get(HEADER..).unwrap_or_default();
        // A clock that went back makes "older than the stamp" mean nothing.
        let valid = bytes.starts_with(MAGIC)
            && body.len() % RECORD == 0
            && stamp <= now
            && checksum == checksum_of(body);
        if valid {
            self.stamp = stamp;
            bytes.drain(..HEADER);
            self.records = bytes;
        }
    }

    /// The recorded hash of a file that has not changed since.
    pub(crate) fn find(&self, path_hash: u64, stat: &Stat) -> Option<ContentHash> {
        if stat.dev != self.device || stat.mtime_ns.max(stat.ctime_ns) >= self.stamp {
            return None;
        }
        let wanted = head(path_hash, stat);
        let count = self.records.len() / RECORD;
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            if self.record(middle)[..8] < wanted[..8] {
                low = middle + 1
            } else {
                high = middle
            }
        }
        (low..count)
            .map(|i| self.record(i))
            .take_while(|r| r[..8] == wanted[..8])
            .find(|r| r[..RECORD - 32] == wanted)
            .and_then(|r| r[RECORD - 32..].try_into().ok())
    }

    fn record(&self, index: usize) -> &[u8] {
        &self.records[index * RECORD..(index + 1) * RECORD]
    }

    /// Writes what this scan knows. Records of files it did not see stay if they were not racy.
    pub(crate) fn save(&self, seen: &[Learned], stamp: i64) -> std::io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut records: Vec<[u8; RECORD]> = seen
            .iter()
            .filter(|l| l.stat.dev == self.device)
            .map(|l| {
                let mut record = [0; RECORD];
                record[..RECORD - 32].copy_from_slice(&head(l.path_hash, &l.stat));
                record[RECORD - 32..].copy_from_slice(&l.hash);
                record
            })
            .collect();
        records.sort_unstable();
        let known = records.len();
        let carried: Vec<[u8; RECORD]> = (0..self.records.len() / RECORD)
            .map(|i| self.record(i))
            .filter(|r| times_of(r) < self.stamp)
            .filter(|r| records.binary_search_by(|k| k[..8].cmp(&r[..8])).is_err())
            .filter_map(|r| r.try_into().ok())
            .collect();
        if carried.len() <= known + CARRIED_EXTRA {
            records.extend(carried);
            records.sort_unstable();
        }
        let body = records.as_flattened();
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&stamp.to_le_bytes());
        bytes.extend_from_slice(&checksum_of(body).to_le_bytes());
        bytes.extend_from_slice(body);
        write_atomically(path, &bytes)
    }
}

fn checksum_of(body: &[u8]) -> i64 {
    i64::from_le_bytes(
        blake3::hash(body).as_bytes()[..8]
            .try_into()
            .unwrap_or_default(),
    )
}

/// Everything of a record but the content hash. The path hash is big-endian, so that byte order
/// is numeric order.
fn head(path_hash: u64, stat: &Stat) -> [u8; RECORD - 32] {
    let mut head = [0; RECORD - 32];
    head[..8].copy_from_slice(&path_hash.to_be_bytes());
    head[8..16].copy_from_slice(&stat.mtime_ns.to_le_bytes());
    head[16..24].copy_from_slice(&stat.ctime_ns.to_le_bytes());
    head[24..32].copy_from_slice(&stat.dev.to_le_bytes());
    head[32..40].copy_from_slice(&stat.inode.to_le_bytes());
    head[40..48].copy_from_slice(&stat.size.to_le_bytes());
    head[48..52].copy_from_slice(&stat.mode.to_le_bytes());
    head
}

fn times_of(record: &[u8]) -> i64 {
    let word = |at: usize| {
        record[at..at + 8]
            .try_into()
            .map(i64::from_le_bytes)
            .unwrap_or(i64::MAX)
    };
    word(8).max(word(16))
}
