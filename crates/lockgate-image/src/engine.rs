//! A Docker Engine as a builder: BuildKit over its socket, and the image back into the store.
//!
//! In: a Dockerfile whose images are digests, and a context of only what it copies. Out: an image
//! of the [`Store`], re-packed by us: an engine is a source of layers, not the publisher.

mod archive;
mod output;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::grpc::BuildRef;
use bollard::grpc::build::{
    ImageBuildFrontendOptions, ImageBuildLoadInput, ImageBuildNetworkMode, ImageBuildPlatform,
    SecretSource,
};
use bollard::grpc::driver::{Build as _, moby::Moby};
use bollard::grpc::error::GrpcError;
use bollard::query_parameters::RemoveImageOptions;
use bollard::{API_DEFAULT_VERSION, Docker};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use lockgate_diag::{REDACTED, Secret};
use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;

use crate::os_arch::OsArch;
use crate::store::{Image, Store, StoreError};

/// Longest single call; a whole build is one.
const CALL_LIMIT: Duration = Duration::from_secs(3600);
/// An engine that does not even say its version by then is none.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// After a failure, this long for the last lines of the step.
const OUTPUT_LIMIT: Duration = Duration::from_secs(2);
/// Name of the Dockerfile in the context.
const DOCKERFILE: &str = ".lockgate.Dockerfile";

/// Why an engine did not build.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers at the socket.
    #[error("no Docker Engine answers at {socket}: {reason}")]
    Absent {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The engine runs other programs than the image needs.
    #[error("the Docker Engine builds for {offered}, the image is for {wanted}")]
    OtherArch {
        /// What it runs on.
        offered: String,
        /// What is asked for.
        wanted: String,
    },
    /// A step failed, or the engine refused the build.
    #[error("the Docker Engine did not build it: {reason}")]
    Build {
        /// The engine's word.
        reason: String,
        /// The last lines of the step that failed.
        lines: Vec<String>,
    },
    /// The image did not come back.
    #[error("take the image from the Docker Engine: {0}")]
    Export(String),
    /// What came back is no image.
    #[error("the Docker Engine's image is malformed: {0}")]
    Archive(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EngineError {
    /// Steps may print what they were given.
    fn without(self, secrets: &[(String, Secret<String>)]) -> Self {
        let Self::Build { reason, lines } = self else {
            return self;
        };
        let mask = |text: String| {
            let values = secrets.iter().map(|(_, value)| value.expose());
            let lines = values.flat_map(|value| value.lines());
            lines
                .filter(|line| !line.trim().is_empty())
                .fold(text, |text, line| text.replace(line, REDACTED))
        };
        Self::Build {
            reason: mask(reason),
            lines: lines.into_iter().map(mask).collect(),
        }
    }

    fn build(reason: impl Into<String>) -> Self {
        Self::Build {
            reason: reason.into(),
            lines: Vec::new(),
        }
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What an engine builds.
#[derive(Clone, Debug)]
pub(crate) struct EngineBuild {
    /// A name of its own, removed afterwards.
    pub(crate) name: String,
    /// Text of the Dockerfile.
    pub(crate) dockerfile: String,
    /// Stage to build.
    pub(crate) target: Option<String>,
    /// Values for ARG.
    pub(crate) args: Vec<(String, String)>,
    /// Values for `RUN --mount=type=secret`, by id.
    pub(crate) secrets: Vec<(String, Secret<String>)>,
    /// Labels added to the Dockerfile's.
    pub(crate) labels: Vec<(String, String)>,
    /// What the image runs on.
    pub(crate) os_arch: OsArch,
    /// Steps get no network.
    pub(crate) offline: bool,
}

/// An engine behind a Unix socket.
#[derive(Clone, Debug)]
pub struct Engine {
    socket: PathBuf,
}

impl Engine {
    /// The engine at `socket`; asks nothing yet.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Whether there is a socket at all; a cheap first look.
    pub fn is_there(&self) -> bool {
        self.socket.exists()
    }

    /// Path of the Dockerfile that a context for [`Self::build`] must hold.
    pub(crate) const fn dockerfile_name() -> &'static str {
        DOCKERFILE
    }

    async fn connect(&self, os_arch: &OsArch) -> Result<Docker, EngineError> {
        let absent = |reason: String| EngineError::Absent {
            socket: self.socket.clone(),
            reason,
        };
        let path = self.socket.display().to_string();
        let docker = Docker::connect_with_unix(&path, CALL_LIMIT.as_secs(), API_DEFAULT_VERSION)
            .map_err(|e| absent(e.to_string()))?;
        let hello = async {
            let docker = docker.negotiate_version().await?;
            let version = docker.version().await?;
            Ok::<_, bollard::errors::Error>((docker, version))
        };
        let (docker, version) = tokio::time::timeout(HELLO_LIMIT, hello)
            .await
            .map_err(|_| absent("it did not say its version within 10 s".to_owned()))?
            .map_err(|e| absent(e.to_string()))?;
        let offered = OsArch {
            os: version.os.unwrap_or_default(),
            ..OsArch::linux(&version.arch.unwrap_or_default())
        };
        // Emulation may be there, but a build that silently depends on it is not ours to start.
        if !os_arch.accepts(&offered) {
            return Err(EngineError::OtherArch {
                offered: offered.to_string(),
                wanted: os_arch.to_string(),
            });
        }
        Ok(docker)
    }

    /// Builds and takes the image over. `context` is a tar archive that holds the Dockerfile as
    /// [`Self::dockerfile_name`]; `bases` are images of the store whose layers are used in place
    /// of the engine's where they are the same.
    ///
    /// Dropping the future ends the build.
    pub(crate) async fn build(
        &self,
        build: EngineBuild,
        context: Bytes,
        bases: Vec<Image>,
        store: &Store,
    ) -> Result<Image, EngineError> {
        let docker = self.connect(&build.os_arch).await?;
        let name = build.name.clone();
        // The driver reads secrets from files; these are ours alone, and gone after the build.
        let folder = store.root().join("tmp");
        let secrets = secret_files(&folder, &build.secrets)
            .map_err(|e| EngineError::build(format!("hand over the secrets: {e}")))?;
        let socket = self.socket.clone();
        let options = options(&build, &secrets);
        let solved = solve(socket, docker.clone(), options, name.clone(), context).await;
        solved.map_err(|error| error.without(&build.secrets))?;
        drop(secrets);
        let exported = self.export(&docker, &name, store).await;
        // The name was ours; layers stay in the engine's cache.
        let _ = docker
            .remove_image(&name, None::<RemoveImageOptions>, None)
            .await;
        let file = exported?;
        let store = store.clone();
        let imported =
            tokio::task::spawn_blocking(move || archive::import(file.path(), &bases, &store));
        imported
            .await
            .map_err(|_| EngineError::Archive("the import stopped".to_owned()))?
    }

    /// The image as Docker saves it, in a file that is gone when dropped.
    async fn export(
        &self,
        docker: &Docker,
        name: &str,
        store: &Store,
    ) -> Result<NamedTempFile, EngineError> {
        let failed = |e: &dyn std::fmt::Display| EngineError::Export(e.to_string());
        let folder: &Path = &store.root().join("tmp");
        let file = NamedTempFile::new_in(folder).map_err(|e| failed(&e))?;
        let mut out = fs_err::tokio::OpenOptions::new()
            .write(true)
            .open(file.path())
            .await
            .map_err(|e| failed(&e))?;
        let mut pieces = Box::pin(docker.export_image(name));
        while let Some(piece) = pieces.try_next().await.map_err(|e| failed(&e))? {
            out.write_all(&piece).await.map_err(|e| failed(&e))?;
        }
        out.flush().await.map_err(|e| failed(&e))?;
        Ok(file)
    }
}

/// Runs BuildKit. Its driver's futures stay on one thread, so they get one; the build ends when
/// nobody waits for it any more.
async fn solve(
    socket: PathBuf,
    docker: Docker,
    options: ImageBuildFrontendOptions,
    name: String,
    context: Bytes,
) -> Result<(), EngineError> {
    let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
    let runtime = tokio::runtime::Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        runtime.block_on(async move {
            let input = ImageBuildLoadInput::Upload(context);
            let reference = BuildRef::random();
            let id = reference.as_ref().to_owned();
            let output = Mutex::default();
            let build =
                Moby::new(&docker).docker_build(&name, options, input, None, Some(reference));
            let mut build = std::pin::pin!(build);
            let mut follow = std::pin::pin!(output::follow(&socket, id, &output));
            let mut dropped = std::pin::pin!(dropped);
            let mut followed = false;
            let built = loop {
                tokio::select! {
                    built = &mut build => break built,
                    () = &mut follow, if !followed => followed = true,
                    _ = &mut dropped => return Err(EngineError::build("it was cancelled")),
                }
            };
            let Err(error) = built else { return Ok(()) };
            // The last lines may still be on their way.
            if !followed {
                let _ = tokio::time::timeout(OUTPUT_LIMIT, follow).await;
            }
            Err(EngineError::Build {
                reason: words(&error),
                lines: output.lock().of_failed(),
            })
        })
    });
    let built = work.await;
    drop(alive);
    built.map_err(|_| EngineError::build("the build stopped"))?
}

/// Files that only their owner may read, by secret id.
fn secret_files(
    folder: &Path,
    secrets: &[(String, Secret<String>)],
) -> std::io::Result<Vec<(String, NamedTempFile)>> {
    let write = |(id, value): &(String, Secret<String>)| {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(value.expose().as_bytes())?;
        Ok((id.clone(), file))
    };
    secrets.iter().map(write).collect()
}

fn options(build: &EngineBuild, secrets: &[(String, NamedTempFile)]) -> ImageBuildFrontendOptions {
    let mut options = ImageBuildFrontendOptions::builder()
        .dockerfile(Path::new(DOCKERFILE))
        .platforms(&ImageBuildPlatform {
            architecture: build.os_arch.arch.clone(),
            os: build.os_arch.os.clone(),
            variant: build.os_arch.variant.clone(),
        });
    if build.offline {
        options = options.force_network_mode(&ImageBuildNetworkMode::None);
    }
    if let Some(target) = &build.target {
        options = options.target(target);
    }
    for (name, value) in &build.args {
        options = options.buildarg(name, value);
    }
    for (id, file) in secrets {
        options = options.set_secret(id, &SecretSource::File(file.path().to_owned()));
    }
    for (name, value) in &build.labels {
        options = options.label(name, value);
    }
    options.build()
}

/// What BuildKit said, without the wrapping of the protocol.
fn words(error: &GrpcError) -> String {
    match error {
        GrpcError::TonicStatus { err } => err.message().to_owned(),
        other => other.to_string(),
    }
}
