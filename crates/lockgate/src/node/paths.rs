//! Where a node keeps its files.

use std::path::{Path, PathBuf};

/// The files of the node of one home folder.
#[derive(Clone, Debug)]
pub(crate) struct NodePaths {
    home: PathBuf,
}

impl NodePaths {
    /// The node of `home`.
    pub(crate) fn new(home: &Path) -> Self {
        Self {
            home: home.to_owned(),
        }
    }

    /// Folder of the node; only its owner may enter.
    pub(crate) fn folder(&self) -> PathBuf {
        self.home.join("node")
    }

    /// Locked by the running node; says who it is.
    pub(crate) fn pid(&self) -> PathBuf {
        self.folder().join("pid")
    }

    /// Admin API.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder().join("admin.sock")
    }

    /// What the node says.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder().join("node.log")
    }

    /// One JSON line a request.
    pub(crate) fn access_log(&self) -> PathBuf {
        self.folder().join("access.log")
    }

    /// Last good table of the gateway.
    pub(crate) fn table(&self) -> PathBuf {
        self.folder().join("table")
    }

    /// Secret of the node.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder().join("key")
    }

    /// Objects, in the folder of what the node keeps.
    pub(crate) fn database_in(folder: &Path) -> PathBuf {
        folder.join("node.db")
    }

    /// Segments of the ledger of AI calls, in the folder of what the node keeps.
    pub(crate) fn ledger_in(folder: &Path) -> PathBuf {
        folder.join("ledger")
    }

    /// Instances and root file systems.
    pub(crate) fn services(&self) -> PathBuf {
        self.home.join("services")
    }

    /// Images, shared by commands and node.
    pub(crate) fn images(&self) -> PathBuf {
        self.home.join("images")
    }

    /// Settings, unless another file is named.
    pub(crate) fn settings(&self) -> PathBuf {
        self.home.join("lockgate.toml")
    }
}
