//! What the node tells a sandbox: JSON in a memfd, so that nothing shows in `ps` or on disk.
//!
//! Node and sandbox are the same binary, therefore the form has no versions; only the control
//! messages of [`super::channel`] outlive a binary.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

/// Largest spec; the environment of a process is limited to less.
const SPEC_BYTES_MAX: u64 = 4 << 20;

/// Everything A and B need to know. Paths are relative to the node's home, which is the working
/// folder of both until the pivot: the folders above need not be open to the mapped root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SandboxSpec {
    /// Instance id; also the host name.
    pub(crate) id: String,
    /// Staging folder of the instance, where A mounts its tmpfs.
    pub(crate) staging: String,
    /// The binary that B runs from.
    pub(crate) exe: String,
    /// `cgroup.procs` files to enter, absolute.
    pub(crate) cgroups: Vec<String>,
    /// Own network name space.
    pub(crate) own_network: bool,
    /// How ids map.
    pub(crate) ids: IdMap,
    /// The root file system.
    pub(crate) root: RootSpec,
    /// `etc/resolv.conf`.
    pub(crate) resolv_conf: String,
    /// Resource limits B sets on itself.
    pub(crate) rlimits: Rlimits,
    /// What to run; `None` only tries whether a sandbox can be built.
    pub(crate) program: Option<ProgramSpec>,
}

/// How ids inside relate to ids outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IdMap {
    /// One id, written by A itself: the only way for an ordinary user without help.
    Single {
        /// Inside.
        uid: u32,
        /// Inside.
        gid: u32,
    },
    /// A range, written by the node, which is root.
    Range,
}

/// The root file system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum RootSpec {
    /// Overlay of the image and a folder for changes.
    Overlay {
        /// The image's root.
        lower: String,
        /// `upper` and `work`; `None` for a read-only root.
        writable: Option<(String, String)>,
    },
    /// A private copy of the image that has the mount points.
    Copy {
        /// The copy.
        path: String,
        /// Refuse writes.
        read_only: bool,
    },
}

/// Caps on the program, each kept under the machine's own hard limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rlimits {
    /// Open files.
    pub(crate) open_files: u64,
    /// Processes, where no cgroup counts them.
    pub(crate) processes: Option<u64>,
    /// Data segment, where no cgroup counts memory.
    pub(crate) data_bytes: Option<u64>,
}

/// What to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProgramSpec {
    /// Program and arguments, never empty.
    pub(crate) argv: Vec<String>,
    /// Its whole environment, secrets included.
    pub(crate) env: BTreeMap<String, String>,
    /// Uid inside.
    pub(crate) uid: u32,
    /// Gid inside.
    pub(crate) gid: u32,
    /// Working folder inside.
    pub(crate) cwd: String,
}

/// Writes `value` to a new memfd.
pub(crate) fn to_memfd(value: &impl Serialize) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("lockgate-spec", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(value)?)?;
    Ok(file.into())
}

/// Reads what [`to_memfd`] wrote.
pub(crate) fn from_memfd<T: for<'a> Deserialize<'a>>(fd: OwnedFd) -> io::Result<T> {
    let mut file = File::from(fd);
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(SPEC_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
