//! Building images without a daemon: [`Builder::plan`] only reads and hashes, [`Builder::build`]
//! writes layers and the image into the store.

mod archive;
mod assemble;
mod cache;
mod engine;
mod pack;
mod prepare;
mod staged;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_diag::codes::image as codes;
use lockgate_diag::{Diagnostic, Secret};
use lockgate_model::{Clock, Digest, Timestamp};

use crate::base::{BaseError, BaseResolver};
use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::key::BuildKey;
use crate::os_arch::OsArch;
use crate::store::{Store, StoreError};

/// Modification time of every file in a layer, and creation time of the image: a constant, so
/// that the same content has the same digest. 1980, because zip tools refuse anything earlier.
pub const DEFAULT_EPOCH: i64 = 315_532_800;

/// Paths named in [`Changes`].
const CHANGED_PATHS_MAX: usize = 20;

/// Where the Dockerfile is.
#[derive(Clone, Debug)]
pub enum DockerfileSource {
    /// A file, relative to the context unless absolute.
    Path(PathBuf),
    /// Its text.
    Inline {
        /// Name for diagnostics.
        name: String,
        /// The text.
        text: String,
    },
}

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Repository name, for people and for finding the previous build. Not in the key.
    pub name: String,
    /// The files.
    pub context: Context,
    /// The instructions.
    pub dockerfile: DockerfileSource,
    /// Values for ARG.
    pub build_args: BTreeMap<String, String>,
    /// Values for ARG that must not reach the image; using one where it would is an error.
    pub secret_args: BTreeMap<String, Secret<String>>,
    /// Stage to build; the last one if absent.
    pub target: Option<String>,
    /// What the image runs on. Stack configuration, never the host.
    pub platform: OsArch,
    /// Labels added to the Dockerfile's.
    pub labels: BTreeMap<String, String>,
    /// Seconds since the epoch for every time in the image; [`DEFAULT_EPOCH`] if absent.
    pub epoch: Option<i64>,
    /// Programs of RUN get no network.
    pub offline: bool,
    /// Hash every file even where the stat cache knows it.
    pub verify: bool,
}

impl BuildRequest {
    /// A request with nothing but the necessary: `Dockerfile` in the context, no arguments.
    pub fn new(name: impl Into<String>, context: Context, platform: OsArch) -> Self {
        Self {
            name: name.into(),
            context,
            dockerfile: DockerfileSource::Path("Dockerfile".into()),
            build_args: BTreeMap::new(),
            secret_args: BTreeMap::new(),
            target: None,
            platform,
            labels: BTreeMap::new(),
            epoch: None,
            offline: false,
            verify: false,
        }
    }
}

/// A finished image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Key it was built under.
    pub key: BuildKey,
    /// Digest of the manifest: what to deploy.
    pub digest: Digest,
    /// Digest of the configuration (Docker's image ID).
    pub config_digest: Digest,
    /// Digests of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// Bytes of all compressed layers.
    pub size_bytes: u64,
    /// When it was built.
    pub built_at: Timestamp,
}

/// Which copied paths differ from the previous build of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The first 20, sorted.
    pub paths: Vec<String>,
    /// How many there are.
    pub count: usize,
}

/// A build that is known but not done.
#[derive(Clone, Debug)]
pub struct BuildPlan {
    /// Names the result.
    pub key: BuildKey,
    /// The image, if this key was built before and is still in the store.
    pub known: Option<ImageRecord>,
    /// Why the key is new, compared with the previous build of this name.
    pub changes: Changes,
    /// Things worth fixing that do not stop the build.
    pub warnings: Vec<Diagnostic>,
    prepared: Arc<prepare::Prepared>,
}

/// Why a build is refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Mistakes in the Dockerfile, the ignore file or the context.
    #[error("the image cannot be built as described")]
    Invalid {
        /// All of them.
        diagnostics: Vec<Diagnostic>,
    },
    /// Reachable stages have instructions that only a build engine executes.
    #[error("the image needs a build engine")]
    NeedsEngine {
        /// Each such instruction, with the ways out.
        diagnostics: Vec<Diagnostic>,
    },
    /// A base image cannot be used.
    #[error("resolve base image `{reference}`")]
    Base {
        /// As written.
        reference: String,
        /// The cause.
        #[source]
        source: BaseError,
    },
    /// The engine did not build it.
    #[error(transparent)]
    Engine(EngineError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file operation of the builder failed.
    #[error("{operation}")]
    Io {
        /// What was being done, with its subject.
        operation: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A background task ended without a result.
    #[error("the build task stopped before it finished")]
    Stopped,
}

impl BuildError {
    /// The failure as diagnostics, ready to render.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        match self {
            Self::Invalid { diagnostics } | Self::NeedsEngine { diagnostics } => {
                diagnostics.clone()
            }
            Self::Base { .. } => {
                vec![Diagnostic::error(codes::BASE_IMAGE, self.to_string()).caused_by_sources(self)]
            }
            Self::Engine(error) => {
                let mut diagnostic = Diagnostic::error(codes::ENGINE_BUILD, self.to_string());
                if let EngineError::Build { lines, .. } = error {
                    diagnostic.causes.clone_from(lines);
                }
                vec![diagnostic]
            }
            Self::Store(_) | Self::Io { .. } | Self::Stopped => {
                vec![
                    Diagnostic::error(codes::CONTEXT_UNREADABLE, self.to_string())
                        .caused_by_sources(self),
                ]
            }
        }
    }

    pub(crate) fn invalid(diagnostic: Diagnostic) -> Self {
        Self::Invalid {
            diagnostics: vec![diagnostic],
        }
    }

    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }
}

/// Adds the causes below an error, the error itself left out.
trait CausedBySources {
    fn caused_by_sources(self, error: &dyn std::error::Error) -> Self;
}

impl CausedBySources for Diagnostic {
    fn caused_by_sources(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = error.source();
        while let Some(e) = next {
            self = self.cause(e.to_string());
            next = e.source();
        }
        self
    }
}

/// What a build is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressEvent {
    /// A step starts.
    Step {
        /// From 1.
        number: usize,
        /// Steps of all stages.
        total: usize,
        /// The instruction.
        text: String,
    },
    /// A layer is in the store.
    Layer {
        /// Its blob.
        digest: Digest,
        /// Compressed bytes.
        size_bytes: u64,
        /// It was packed by an earlier build.
        cached: bool,
    },
}

/// Receives progress. Called on the task of [`Builder::build`]; must not block.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn report(&self, event: ProgressEvent);
}

/// Ignores progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: ProgressEvent) {}
}

/// Builds images; clones share everything.
#[derive(Clone)]
pub struct Builder {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    cache_dir: PathBuf,
    bases: Arc<dyn BaseResolver>,
    clock: Arc<dyn Clock>,
    engine: Option<Engine>,
}

impl Builder {
    /// A builder whose caches are below `cache_dir`; deleting that folder costs time only.
    pub fn new(
        store: Store,
        cache_dir: PathBuf,
        bases: Arc<dyn BaseResolver>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                cache_dir,
                bases,
                clock,
                engine: None,
            }),
        }
    }

    /// The same builder with an engine for stages that have RUN. It is used only for those, and
    /// only if its socket exists.
    #[must_use]
    pub fn with_engine(&self, engine: Engine) -> Self {
        Self {
            inner: Arc::new(Inner {
                store: self.inner.store.clone(),
                cache_dir: self.inner.cache_dir.clone(),
                bases: Arc::clone(&self.inner.bases),
                clock: Arc::clone(&self.inner.clock),
                engine: Some(engine),
            }),
        }
    }

    /// The engine, if there is one.
    fn engine(&self) -> Option<&Engine> {
        self.inner.engine.as_ref().filter(|e| e.is_there())
    }

    /// The store images go to.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    fn cache_dir(&self) -> &Path {
        &self.inner.cache_dir
    }

    /// Reads and hashes; writes nothing but caches and, for base images, their documents.
    ///
    /// Cancelling it leaves a background thread that ends by itself.
    pub async fn plan(&self, request: &BuildRequest) -> Result<BuildPlan, BuildError> {
        let front = {
            let request = request.clone();
            blocking(move || prepare::read_front(&request)).await??
        };
        let images = self.resolve_images(&front, &request.platform).await?;
        let (builder, request) = (self.clone(), request.clone());
        blocking(move || prepare::prepare(&builder, &request, front, images)).await?
    }

    /// Builds what `plan` describes, or gives the known record at once.
    ///
    /// Cancelling it leaves a background thread that completes the layer cache and ends.
    pub async fn build(
        &self,
        plan: &BuildPlan,
        progress: &dyn Progress,
    ) -> Result<ImageRecord, BuildError> {
        if let Some(known) = &plan.known {
            return Ok(known.clone());
        }
        for (text, source, digest) in &plan.prepared.images {
            let crate::base::BaseSource::Reference(reference) = source else {
                continue;
            };
            self.inner
                .bases
                .fetch_layers(reference, digest, &self.inner.store)
                .await
                .map_err(|source| BuildError::Base {
                    reference: text.clone(),
                    source,
                })?;
        }
        if let Some(order) = &plan.prepared.order {
            let engine = self.engine().ok_or_else(|| order.needs_engine())?;
            return engine::run(self, engine, order, &plan.prepared, plan.key, progress).await;
        }
        // Progress may lag by this many events; then the build waits for the reporter.
        let (send, mut receive) = tokio::sync::mpsc::channel(64);
        let (builder, prepared, key) = (self.clone(), Arc::clone(&plan.prepared), plan.key);
        let work = tokio::task::spawn_blocking(move || {
            assemble::assemble(&builder, &prepared, key, &|event| {
                // Nobody listens once the caller is gone.
                let _ = send.blocking_send(event);
            })
        });
        while let Some(event) = receive.recv().await {
            progress.report(event);
        }
        work.await.map_err(|_| BuildError::Stopped)?
    }

    async fn resolve_images(
        &self,
        front: &prepare::Front,
        os_arch: &OsArch,
    ) -> Result<prepare::Images, BuildError> {
        let mut images = prepare::Images::new();
        for (text, span) in front.image_texts() {
            if images.iter().any(|(known, _, _)| *known == text) {
                continue;
            }
            let source = crate::base::BaseSource::parse(&text).map_err(|reason| {
                BuildError::invalid(Diagnostic::error(codes::BASE_IMAGE, reason).at(
                    &front.dockerfile.file,
                    span,
                    "",
                ))
            })?;
            let store = self.inner.store.clone();
            let resolved = match &source {
                crate::base::BaseSource::Reference(reference) => {
                    self.inner.bases.resolve(reference, os_arch, &store).await
                }
                crate::base::BaseSource::Layout { folder, tag } => {
                    let (folder, tag, os_arch) = (folder.clone(), tag.clone(), os_arch.clone());
                    blocking(move || {
                        crate::base::import_layout(&folder, tag.as_deref(), &os_arch, &store)
                    })
                    .await?
                }
            };
            let digest = resolved.map_err(|error| {
                let message = format!("base image `{text}` cannot be resolved");
                BuildError::invalid(
                    Diagnostic::error(codes::BASE_IMAGE, message)
                        .at(&front.dockerfile.file, span, "")
                        .caused_by(&error),
                )
            })?;
            images.push((text, source, digest));
        }
        Ok(images)
    }
}

/// Runs file work on the pool for blocking calls and awaits it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| BuildError::Stopped)
}
