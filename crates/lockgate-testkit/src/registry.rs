//! A real registry (Debian's `docker-registry`) with a storage folder of its own.

use std::net::{TcpListener, TcpStream};

use anyhow::Result;
use tempfile::TempDir;

use crate::process::Server;

/// User of a registry that wants one.
pub const USER: &str = "shop";
/// Password of [`USER`].
pub const PASSWORD: &str = "canary-pw";
/// [`USER`] and the bcrypt hash of [`PASSWORD`], as `htpasswd -B` writes it.
const HTPASSWD: &str = "shop:$2y$05$tNbqNqsV2kbKhf/0jSbbde87UbIp52/unUTu0pKWd2v341vSqcml.\n";

/// A running registry. Dropping it stops it and removes its storage.
#[derive(Debug)]
pub struct Registry {
    address: String,
    // Before the folder: the server must be gone when its files go.
    _server: Server,
    folder: TempDir,
}

impl Registry {
    /// One that takes everybody.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// One that wants [`USER`] and [`PASSWORD`].
    pub fn start_private() -> Result<Self> {
        Self::start_with("auth: { htpasswd: { realm: test, path: FOLDER/htpasswd } }\n")
    }

    fn start_with(auth: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("lockgate-registry-")
            .tempdir()?;
        let root = folder.path().display().to_string();
        // Freed at once for the server; nothing else on this machine asks for ports just now.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let settings = format!(
            "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: {root}/data }}, \
             delete: {{ enabled: true }} }}\nhttp: {{ addr: \"{address}\" }}\n{}",
            auth.replace("FOLDER", &root)
        );
        fs_err::write(folder.path().join("htpasswd"), HTPASSWD)?;
        let file = folder.path().join("registry.yml");
        fs_err::write(&file, settings)?;
        let server = Server::start(
            "docker-registry",
            "docker-registry",
            &["serve", &file.display().to_string()],
            &folder.path().join("log"),
            || Ok(TcpStream::connect(&address).is_ok()),
        )?;
        Ok(Self {
            address,
            _server: server,
            folder,
        })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> Result<String> {
        Ok(fs_err::read_to_string(self.folder.path().join("log"))?)
    }
}
