//! What the local platform needs of an image: a merged root file system and how to run it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lockgate_image::unpack::{Owners, unpack};
use lockgate_image::{OsArch, Store};
use lockgate_model::ImageReference;
use parking_lot::Mutex;

/// An image laid out on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalImage {
    /// The merged root file system. Never written to.
    pub root: PathBuf,
    /// `ENTRYPOINT`.
    pub entrypoint: Vec<String>,
    /// `CMD`.
    pub cmd: Vec<String>,
    /// `ENV`.
    pub env: BTreeMap<String, String>,
    /// `USER`, empty for root.
    pub user: String,
    /// `WORKDIR`, empty for `/`.
    pub working_dir: String,
    /// `STOPSIGNAL`, empty for TERM.
    pub stop_signal: String,
}

/// Ids outside that stand for `0..count` inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// First outside id.
    pub base: u32,
    /// How many.
    pub count: u32,
}

/// Finds images and lays them out. Called off the async threads; may block.
pub trait ImageSource: Send + Sync {
    /// Lays out `image` (which has a digest) below the node's home, once, and tells how to run
    /// it. Files belong to the caller, or are shifted into `range` when there is one.
    fn lay_out(
        &self,
        image: &ImageReference,
        range: Option<IdRange>,
    ) -> Result<LocalImage, Box<dyn std::error::Error + Send + Sync>>;
}

/// Images of the local store, each laid out once below a folder, by manifest digest.
pub struct StoreImages {
    store: Store,
    folder: PathBuf,
    /// One image at a time is unpacked: replicas start together and want the same one.
    unpacking: Mutex<()>,
}

impl StoreImages {
    /// Lays images of `store` out below `folder`.
    pub fn new(store: Store, folder: PathBuf) -> Self {
        Self {
            store,
            folder,
            unpacking: Mutex::new(()),
        }
    }
}

impl ImageSource for StoreImages {
    fn lay_out(
        &self,
        image: &ImageReference,
        range: Option<IdRange>,
    ) -> Result<LocalImage, Box<dyn std::error::Error + Send + Sync>> {
        let digest = image.digest.ok_or("the reference has no digest")?;
        let manifest = self
            .store
            .select(&digest, &OsArch::linux(std::env::consts::ARCH))?;
        // Owners are part of the name: a node that becomes root must not use a user's layout.
        let (owners, kind) = match range {
            Some(IdRange { base, count }) => (Owners::Shift { base, count }, "range"),
            None => (Owners::Caller, "own"),
        };
        let root = self.folder.join(format!("{}-{kind}", manifest.hex()));
        {
            let _one = self.unpacking.lock();
            if !root.exists() {
                unpack(&self.store, &manifest, &root, owners)?;
            }
        }
        let config = self.store.image(&manifest)?.config.config;
        let variable = |text: String| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (text, String::new()),
        };
        Ok(LocalImage {
            root,
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            env: config.env.into_iter().map(variable).collect(),
            user: config.user,
            working_dir: config.working_dir,
            stop_signal: config.stop_signal,
        })
    }
}
