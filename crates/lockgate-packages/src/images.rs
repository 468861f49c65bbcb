//! What the `lockgate` package asks of the image side: builders, store, gates and registries.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{Digest, ImageReference};

/// The image side, seen from a deployment. Everything here only writes to the local store and its
/// caches, so every call is allowed in a preview.
#[async_trait]
pub trait Images: Send + Sync {
    /// Names everything that decides the image, without building it.
    async fn plan(&self, request: &BuildRequest) -> Result<BuildPlan, ImagesError>;
    /// Builds into the local store, or finds the image there. `progress` takes a line at a time.
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<BuiltImage, ImagesError>;
    /// Whether the local store holds the image.
    async fn has(&self, digest: &Digest) -> Result<bool, ImagesError>;
    /// Checks an image of the local store. A check that could not be made is a failed one.
    async fn check_gate(
        &self,
        digest: &Digest,
        request: &GateRequest,
    ) -> Result<GateReport, ImagesError>;
    /// The digest that a reference without one names now.
    async fn resolve(&self, image: &ImageReference) -> Result<Digest, ImagesError>;
}

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Where the files come from.
    pub context: BuildContext,
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Build stage to take; the last one when missing.
    pub target: Option<String>,
    /// `os/arch[/variant]`.
    pub os_arch: String,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
}

/// Where the files of a build come from.
#[derive(Clone, Debug)]
pub enum BuildContext {
    /// A folder.
    Folder(PathBuf),
    /// Exactly these files, by path relative to the context.
    Files(BTreeMap<String, ContextFile>),
}

/// One file of [`BuildContext::Files`].
#[derive(Clone, Debug)]
pub enum ContextFile {
    /// A file on disk; its executable bit counts.
    Path(PathBuf),
    /// Content in memory; not executable.
    Bytes(Arc<[u8]>),
}

/// Where a Dockerfile is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerfileSource {
    /// At this path of the context.
    Path(String),
    /// Its text.
    Inline(String),
}

/// What a build would give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildPlan {
    /// Name of everything that decides the image.
    pub key: String,
    /// The image, if the local store has it under this key.
    pub known: Option<BuiltImage>,
}

/// An image of the local store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Name of everything that decided it.
    pub key: String,
    /// Size of its blobs, compressed.
    pub size_bytes: u64,
}

/// What an image must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateRequest {
    /// No file may hold a secret.
    pub secrets: bool,
    /// Largest size, compressed.
    pub size_bytes_max: Option<u64>,
    /// It must not run as root.
    pub non_root: bool,
    /// File of findings to ignore.
    pub ignore_file: Option<PathBuf>,
}

/// What a gate found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReport {
    /// Every check that was asked for.
    pub checks: Vec<GateCheck>,
}

/// One check of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateCheck {
    /// Its name, a property of the gate.
    pub name: String,
    /// What it found against the image; empty means passed. Never the text of a secret.
    pub findings: Vec<String>,
    /// Findings that the ignore file took away.
    pub ignored: u64,
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
