//! What the `lockgate` package asks of the image side: builders, store, gates and registries.

mod local;

use async_trait::async_trait;
use lockgate_image::gate::{GatePolicy, GateReport, Ignore};
use lockgate_image::{BuildRequest, ImageRecord, OsArch, Progress};
use lockgate_model::{Digest, ImageReference, Timestamp};

pub use local::LocalImages;

/// What a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The index, or the manifest where there is none.
    pub index: Digest,
    /// The manifest for the kind of machine asked for.
    pub manifest: Digest,
    /// When the image was created, if it says so.
    pub created: Option<Timestamp>,
}

/// A time as images and the lock file write it (RFC 3339).
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let time = text.parse::<jiff::Timestamp>().ok()?;
    i64::try_from(time.as_nanosecond()).ok().map(Timestamp)
}

/// The image side, seen from a deployment. All but [`Images::push`] only writes to the local store
/// and its caches, so that it is allowed in a preview.
#[async_trait]
pub trait Images: Send + Sync {
    /// Builds into the local store, or finds the image there by its build key.
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &dyn Progress,
    ) -> Result<ImageRecord, ImagesError>;
    /// Whether the local store holds the image.
    async fn has(&self, digest: &Digest) -> Result<bool, ImagesError>;
    /// Checks an image of the local store. A check that could not be made is a failed one.
    async fn check_gate(
        &self,
        digest: &Digest,
        policy: &GatePolicy,
        ignores: &[Ignore],
    ) -> Result<GateReport, ImagesError>;
    /// What a reference names now, for one kind of machine; the same for the whole run.
    async fn resolve(
        &self,
        image: &ImageReference,
        os_arch: &OsArch,
    ) -> Result<Resolved, ImagesError>;
    /// The tags of a repository.
    async fn tags(&self, image: &ImageReference) -> Result<Vec<String>, ImagesError>;
    /// Brings an image into the local store, layers included; gives its manifest digest.
    async fn fetch(&self, image: &ImageReference, os_arch: &OsArch) -> Result<Digest, ImagesError>;
    /// Pushes an image of the local store to `target`. Never in a preview.
    async fn push(&self, digest: &Digest, target: &ImageReference) -> Result<(), ImagesError>;
}

/// Why the image side did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ImagesError {
    /// What was found, in the user's words.
    pub message: String,
    /// Next steps.
    pub hints: Vec<String>,
}
