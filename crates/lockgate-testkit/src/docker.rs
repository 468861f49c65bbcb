//! A real Docker Engine (Debian's `docker.io`) with socket and data of its own. It runs programs
//! in containers, so it needs root.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::process::Server;

/// A running engine without a network for its containers. Dropping it stops it and removes its
/// data.
#[derive(Debug)]
pub struct Docker {
    // Before the folder: the server must be gone when its files go.
    server: Option<Server>,
    folder: TempDir,
}

impl Docker {
    /// Starts one; `None`, said aloud, for those who are not root.
    pub fn start() -> Result<Option<Self>> {
        let id = Command::new("id").arg("-u").output().context("run id")?;
        if id.stdout != b"0\n" {
            let mut err = std::io::stderr();
            writeln!(err, "SKIPPED: a Docker Engine of the test's own needs root")?;
            return Ok(None);
        }
        // Not below /tmp if that is tmpfs with noexec; overlays need a real file system.
        let folder = tempfile::Builder::new()
            .prefix("lockgate-docker-")
            .tempdir_in("/var/tmp")?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs_err::write(folder.path().join("settings.json"), "{}")?;
        let socket = path("docker.sock");
        let server = Server::start(
            "dockerd",
            "docker.io",
            &[
                "-H",
                &format!("unix://{socket}"),
                "--data-root",
                &path("data"),
                "--exec-root",
                &path("exec"),
                "--pidfile",
                &path("docker.pid"),
                "--config-file",
                &path("settings.json"),
                "--bridge=none",
                "--iptables=false",
            ],
            &folder.path().join("log"),
            || Ok(UnixStream::connect(&socket).is_ok()),
        )?;
        Ok(Some(Self {
            server: Some(server),
            folder,
        }))
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Its client, of the same Debian package: a newer one first in the path would want a builder
    /// of its own. It builds with BuildKit and reads no settings of the user.
    pub fn client(&self) -> Command {
        let debian = Path::new("/usr/bin/docker");
        let program = if debian.exists() {
            debian
        } else {
            Path::new("docker")
        };
        let mut command = Command::new(program);
        command
            .env_remove("DOCKER_CONTEXT")
            .env("DOCKER_BUILDKIT", "1")
            .env("DOCKER_CONFIG", self.folder.path())
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command
    }

    /// What the engine wrote to its log.
    pub fn log(&self) -> Result<String> {
        Ok(fs_err::read_to_string(self.folder.path().join("log"))?)
    }
}

impl Drop for Docker {
    /// What the engine left mounted would keep the folder.
    fn drop(&mut self) {
        self.server = None;
        let marker = self.folder.path().display().to_string();
        let table = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts = table.lines().filter_map(|line| line.split(' ').nth(4));
        for mount in mounts.filter(|mount| mount.starts_with(&marker)) {
            let _ = Command::new("umount").args(["-l", mount]).status();
        }
    }
}
