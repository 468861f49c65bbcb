//! A client of OCI registries (distribution-spec 1.1), as far as deploying needs one: tag to
//! digest, tags of a repository, pull into the [`Store`], push out of it.
//!
//! In: an [`ImageReference`]. Out: verified blobs. What a registry says is never trusted: every
//! byte is hashed on arrival, redirects lose the credentials, URLs of foreign layers are never
//! followed, and HTTP without TLS is spoken only with this machine.

mod challenge;
mod credentials;
mod origins;
mod pull;
mod push;
mod resolver;
mod token;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{Clock, Digest, ImageReference, Rng};

use crate::store::StoreError;

pub use resolver::RegistryResolver;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The registry of references without a host.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Blobs of one image that move at once: enough to fill a line, few enough for a registry.
const PARALLEL: usize = 4;

/// How registries are spoken to.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// Docker's `config.json` with credentials; a missing file has none.
    pub docker_config: Option<PathBuf>,
    /// The whole environment of credential programs.
    pub helper_env: Vec<(String, String)>,
    /// First pause before a call is repeated; doubled each time.
    pub retry_pause: Duration,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            docker_config: None,
            helper_env: Vec::new(),
            retry_pause: Duration::from_millis(250),
        }
    }
}

/// Why a registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The image, tag or blob does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The registry refused who asked.
    #[error("{registry} does not allow to {operation}")]
    Denied {
        /// The host.
        registry: String,
        /// What was asked.
        operation: String,
    },
    /// No answer came.
    #[error("{operation}")]
    Connection {
        /// What was asked, and where.
        operation: String,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// An answer came too late.
    #[error("{operation}: no answer for {} s", limit.as_secs())]
    Timeout {
        /// What was asked, and where.
        operation: String,
        /// How long it took.
        limit: Duration,
    },
    /// The answer is a failure.
    #[error("{operation}: the registry answered {status}{detail}")]
    Status {
        /// What was asked, and where.
        operation: String,
        /// HTTP status.
        status: u16,
        /// The registry's own words, if any, behind a colon.
        detail: String,
    },
    /// The answer makes no sense.
    #[error("{operation}: {reason}")]
    Answer {
        /// What was asked, and where.
        operation: String,
        /// What is wrong.
        reason: String,
    },
    /// Content is not what its digest says.
    #[error("{subject} is {found}, expected {expected}")]
    Digest {
        /// What was fetched or pushed.
        subject: String,
        /// As announced.
        expected: Digest,
        /// As it is.
        found: Digest,
    },
    /// Plain HTTP is spoken with loopback addresses only.
    #[error("{0} is not on this machine, so it is not spoken to without TLS")]
    PlainHttp(String),
    /// Credentials cannot be read.
    #[error("read the credentials of {registry}: {reason}")]
    Credentials {
        /// The host.
        registry: String,
        /// What is wrong; never a value.
        reason: String,
    },
    /// The local store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A background task ended without a result.
    #[error("the transfer stopped before it finished")]
    Stopped,
}

impl RegistryError {
    /// Whether the same call may succeed a moment later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Connection { source, .. } => !is_about_tls(source.as_ref()),
            Self::Timeout { .. } => true,
            Self::Status { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

/// Whether the cause is a certificate or a handshake: it will be the same next time.
fn is_about_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>();
    error.is::<rustls::Error>()
        || wrapped
            .and_then(std::io::Error::get_ref)
            .is_some_and(|inner| is_about_tls(inner))
        || error.source().is_some_and(is_about_tls)
}

/// The client. Clones share connections, tokens and credentials.
#[derive(Clone)]
pub struct Registries {
    inner: Arc<Inner>,
}

struct Inner {
    client: transport::Client,
    credentials: credentials::Credentials,
    tokens: token::Tokens,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    retry_pause: Duration,
}

impl Registries {
    /// A client; connects to nothing yet. The clock tells when tokens expire, randomness spreads
    /// repeated calls.
    pub fn new(settings: RegistrySettings, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self {
            inner: Arc::new(Inner {
                client: transport::Client::default(),
                credentials: credentials::Credentials::new(
                    settings.docker_config,
                    settings.helper_env,
                ),
                tokens: token::Tokens::default(),
                clock,
                rng,
                retry_pause: settings.retry_pause,
            }),
        }
    }
}

/// A repository of a registry: where calls go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Repository {
    /// Host as in references: the name credentials are kept under.
    registry: String,
    /// Path below it.
    path: String,
}

impl Repository {
    fn of(image: &ImageReference) -> Self {
        Self {
            registry: image.registry.clone(),
            path: image.repository.clone(),
        }
    }

    /// Start of every URL of its API.
    fn base_url(&self) -> String {
        let host = if self.registry == DEFAULT_REGISTRY {
            format!("registry-1.{DEFAULT_REGISTRY}")
        } else {
            self.registry.clone()
        };
        let scheme = if transport::is_loopback(&host) {
            "http"
        } else {
            "https"
        };
        format!("{scheme}://{host}/v2/{}", self.path)
    }

    fn pull_scope(&self) -> String {
        format!("repository:{}:pull", self.path)
    }

    fn push_scope(&self) -> String {
        format!("repository:{}:pull,push", self.path)
    }
}

/// Reads any challenge; for the fuzz target.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_challenge(header: &str) {
    let _ = challenge::parse(header);
}

#[cfg(test)]
mod tests;
