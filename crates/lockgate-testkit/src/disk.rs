//! A small disk that can be filled: a memory file system of a given size.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Bytes written at once while a disk is filled.
const BLOCK: usize = 4096;

/// A mounted disk. Dropping it takes it away.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of `bytes` at `path`, a folder that is made if it is missing, for its owner
    /// only. `None` for who may not mount: the caller says that it skips.
    pub fn mount(path: &Path, bytes: u64) -> Result<Option<Self>> {
        // The owner of what this process makes is who it runs as.
        if fs_err::metadata("/proc/self")?.uid() != 0 {
            return Ok(None);
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        let size = format!("size={bytes},mode=700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "lockgate-test"])
            .arg(path)
            .status()
            .context("start `mount`")?;
        ensure!(mounted.success(), "mount {}: {mounted}", path.display());
        Ok(Some(Self {
            path: path.to_owned(),
        }))
    }

    /// Takes all room that is left.
    pub fn fill(&self) -> Result<()> {
        let mut file = fs_err::File::create(self.path.join("fill"))?;
        loop {
            match file.write(&[b'x'; BLOCK]) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the room back.
    pub fn free(&self) -> Result<()> {
        Ok(fs_err::remove_file(self.path.join("fill"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that a failed test left behind may still hold files.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
