//! What the local platform needs of an image: a merged root file system and how to run it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lockgate_model::ImageReference;

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
