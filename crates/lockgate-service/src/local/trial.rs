//! A sandbox without a program, to see whether this machine lets one be built.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::folder::{self, InstanceFolder, RANGE_BASE};
use super::start::{Launch, below};
use crate::sandbox::channel::Report;
use crate::sandbox::root::lay_skeleton;
use crate::sandbox::spec::{IdMap, Rlimits, RootSpec, SandboxSpec};

/// Which root file system is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// The usual one.
    Overlay,
    /// The fallback.
    Copy,
}

/// What a trial met.
#[derive(Debug)]
pub(crate) enum TrialError {
    /// A step of the sandbox failed.
    Step {
        step: String,
        errno: i32,
        text: String,
    },
    /// Something before the sandbox failed.
    Machine(io::Error),
}

impl From<io::Error> for TrialError {
    fn from(error: io::Error) -> Self {
        Self::Machine(error)
    }
}

impl Trial {
    /// Builds a sandbox and tells how long it took. Leaves nothing behind.
    pub(crate) fn run(self, home: &Path, exe: &Path) -> Result<Duration, TrialError> {
        fs_err::create_dir_all(home)?;
        // A home of its own on the same file system: a running node's must not be disturbed.
        let id = format!("doctor-{}", std::process::id());
        let home = fs_err::canonicalize(home)?.join(&id);
        let is_root = folder::can_map_range();
        folder::make_home(&home, is_root)?;
        let tried = self.attempt(&home, exe, &id, is_root);
        let removed = folder::remove_tree(&home);
        let took = tried?;
        removed?;
        Ok(took)
    }

    fn attempt(
        self,
        home: &Path,
        exe: &Path,
        id: &str,
        is_root: bool,
    ) -> Result<Duration, TrialError> {
        let image = &home.join("rootfs/empty");
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let folder = InstanceFolder::of(home, id).ok_or_else(invalid)?;
        fs_err::create_dir_all(image)?;
        let owner = is_root.then_some(RANGE_BASE);
        if let Some(owner) = owner {
            std::os::unix::fs::chown(image, Some(owner), Some(owner))?;
        }
        let fds = folder.make(owner)?;
        let relative = |path: &Path| below(home, path).map_err(io::Error::other);
        let upper = folder.path().join("upper");
        let root = match self {
            Self::Overlay => RootSpec::Overlay {
                lower: relative(image)?,
                writable: Some((relative(&upper)?, relative(&folder.path().join("work"))?)),
            },
            Self::Copy => {
                lay_skeleton(&upper, id, "")?;
                RootSpec::Copy {
                    path: relative(&upper)?,
                    read_only: false,
                }
            }
        };
        let sandbox = SandboxSpec {
            id: id.to_owned(),
            staging: relative(&folder.path().join("mnt"))?,
            exe: folder::keep_binary(home, exe)?,
            cgroups: Vec::new(),
            own_network: true,
            ids: if is_root {
                IdMap::Range
            } else {
                IdMap::Single { uid: 0, gid: 0 }
            },
            root,
            resolv_conf: String::new(),
            rlimits: Rlimits {
                open_files: 64,
                processes: None,
                data_bytes: None,
            },
            program: None,
        };
        let begun = monotonic();
        let mut launch = Launch::spawn(exe, home, &sandbox, &fds, &folder.out())?;
        let (last, process) = launch.follow()?;
        let took = monotonic().saturating_sub(begun);
        if let Some((_, pidfd)) = &process {
            super::start::await_end(pidfd)?;
        }
        match last {
            Some(Report::Started) => Ok(took),
            Some(Report::StepFailed { step, errno, text }) => {
                Err(TrialError::Step { step, errno, text })
            }
            _ => Err(TrialError::from(io::Error::from(
                io::ErrorKind::UnexpectedEof,
            ))),
        }
    }
}

/// The doctor has no `Clock`: it runs also where no node can.
fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}
