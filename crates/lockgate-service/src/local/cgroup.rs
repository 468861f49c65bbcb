//! Memory and process limits by cgroups, where the node may make them.
//!
//! Version 2 counts only if the node's own group has the controllers delegated to it; version 1
//! is used as root. Without either, the sandbox falls back to resource limits.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::platform::ServiceError;

/// Where the file systems of both versions are mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// The leaf that a node moves into: version 2 refuses processes beside enabled controllers.
const NODE_LEAF: &str = "lockgate-node";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// Version 2: folder in which instances get theirs.
    Unified(PathBuf),
    /// Version 1, as root: one folder per controller.
    Split {
        /// Of the memory controller.
        memory: PathBuf,
        /// Of the pids controller.
        pids: PathBuf,
    },
    /// None.
    Missing,
}

/// The groups of one instance.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Folders; each has `cgroup.procs`.
    pub(super) folders: Vec<String>,
    pub(super) limits_memory: bool,
    pub(super) limits_processes: bool,
}

impl Cgroups {
    /// Looks at the group of this process.
    pub(crate) fn find(is_root: bool) -> Self {
        let own = fs_err::read_to_string("/proc/self/cgroup").unwrap_or_default();
        if let Some(unified) = Self::unified(&own) {
            return unified;
        }
        let folder = |controller| {
            let path = path_of(&own, controller)?.trim_start_matches('/');
            let folder = Path::new(MOUNT).join(controller).join(path);
            access(folder.join("cgroup.procs"), Access::WRITE_OK)
                .is_ok()
                .then_some(folder)
        };
        match (is_root, folder("memory"), folder("pids")) {
            (true, Some(memory), Some(pids)) => Self::Split { memory, pids },
            _ => Self::Missing,
        }
    }

    /// Version 2, once this process sits in a leaf of a tree whose controllers it may hand on.
    fn unified(own: &str) -> Option<Self> {
        let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let here = Path::new(MOUNT).join(path.trim_start_matches('/'));
        let tree = if here.ends_with(NODE_LEAF) {
            here.parent()?.to_owned()
        } else {
            here
        };
        let controllers = fs_err::read_to_string(tree.join("cgroup.controllers")).ok()?;
        let has = |name| controllers.split_whitespace().any(|c| c == name);
        if !has("memory") || !has("pids") || tree == Path::new(MOUNT) {
            return None;
        }
        let leaf = tree.join(NODE_LEAF);
        fs_err::create_dir_all(&leaf).ok()?;
        fs_err::write(leaf.join("cgroup.procs"), "0").ok()?;
        fs_err::write(tree.join("cgroup.subtree_control"), "+memory +pids").ok()?;
        Some(Self::Unified(tree))
    }

    /// Makes the groups of an instance, for the limits that are asked for. Moving a process
    /// costs up to 20 ms, so no group is made without need.
    pub(super) fn make(
        &self,
        id: &str,
        memory: Option<u64>,
        processes: Option<u64>,
    ) -> Result<Groups, ServiceError> {
        let name = format!("lockgate-{id}");
        let wanted: Vec<(PathBuf, &str, Option<u64>)> = match self {
            Self::Unified(tree) => vec![
                (tree.join(&name), "memory.max", memory),
                (tree.join(&name), "pids.max", processes),
            ],
            Self::Split { memory: m, pids } => vec![
                (m.join(&name), "memory.limit_in_bytes", memory),
                (pids.join(&name), "pids.max", processes),
            ],
            Self::Missing => Vec::new(),
        };
        let mut groups = Groups::default();
        for (folder, file, value) in wanted {
            let Some(value) = value else { continue };
            let failed = ServiceError::io(format!("limit instance `{id}` by {file}"));
            let made = fs_err::create_dir_all(&folder)
                .and_then(|()| fs_err::write(folder.join(file), value.to_string()));
            made.map_err(failed)?;
            let folder = folder.to_string_lossy().into_owned();
            if !groups.folders.contains(&folder) {
                groups.folders.push(folder);
            }
            groups.limits_memory |= file.starts_with("memory");
            groups.limits_processes |= file.starts_with("pids");
        }
        Ok(groups)
    }
}

/// The path of a controller of version 1 in `/proc/self/cgroup`.
fn path_of<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|c| c == controller)
            .then_some(path)
    })
}

/// Whether the kernel killed a process of these groups for want of memory.
pub(super) fn out_of_memory(folders: &[String]) -> bool {
    folders.iter().any(|folder| {
        ["memory.events", "memory.oom_control"]
            .into_iter()
            .any(|file| {
                let text = fs_err::read_to_string(Path::new(folder).join(file)).unwrap_or_default();
                let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
                count.is_some_and(|count| count.trim() != "0")
            })
    })
}

/// Removes the groups of an ended instance.
pub(super) fn remove(folders: &[String]) -> io::Result<()> {
    for folder in folders {
        match fs_err::remove_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_found_by_name() {
        let own = "9:name=systemd:/\n4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/\n";
        assert_eq!(path_of(own, "memory"), Some("/a/b"));
        assert_eq!(path_of(own, "cpuacct"), Some("/c"));
        assert_eq!(path_of(own, "pids"), None);
    }
}
