//! What a stack wants to run, and what is running.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use lockgate_diag::Secret;

use crate::image::{Digest, ImageReference};

/// Identity of a service on a node: project, stack and logical name. Prints as
/// `project/stack/name`, which is also how the admin API and `lockgate logs` name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId {
    /// Project name.
    pub project: String,
    /// Stack name.
    pub stack: String,
    /// Logical name of the resource.
    pub name: String,
}

impl ServiceId {
    /// Parses `project/stack/name`; each part is non-empty, the name may contain `/`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let (project, stack, name) = (parts.next()?, parts.next()?, parts.next()?);
        if project.is_empty() || stack.is_empty() || name.is_empty() {
            return None;
        }
        Some(Self {
            project: project.into(),
            stack: stack.into(),
            name: name.into(),
        })
    }

    /// The stable address that routes use as a backend; it survives every rollout.
    pub fn endpoint(&self) -> String {
        format!("service://{self}")
    }

    /// The inverse of [`ServiceId::endpoint`].
    pub fn from_endpoint(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix("service://")?)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.project, self.stack, self.name)
    }
}

/// What a stack wants to run under one [`ServiceId`].
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Who it is.
    pub id: ServiceId,
    /// What to run; always has a digest.
    pub image: ImageReference,
    /// Number of instances, at least 1.
    pub replicas: u32,
    /// The port the program listens on: `None` when it reads the `PORT` variable, otherwise a
    /// fixed port, which gets its own network name space.
    pub fixed_port: Option<u16>,
    /// Environment, added to the image's own.
    pub env: BTreeMap<String, String>,
    /// Secret environment.
    pub secret_env: BTreeMap<String, Secret<String>>,
    /// Replaces the image's entry point and command.
    pub command: Option<Vec<String>>,
    /// How to tell that it works.
    pub health: HealthCheck,
    /// Resource limits.
    pub limits: ServiceLimits,
    /// How a new version takes over.
    pub rollout: Rollout,
    /// The root file system cannot be written.
    pub read_only_root: bool,
}

/// How to tell that an instance works.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// What is tried.
    pub probe: HealthProbe,
    /// Time between tries.
    pub interval: Duration,
    /// Time limit of one try.
    pub timeout: Duration,
    /// Failures in a row that make a healthy instance unhealthy.
    pub fall: u32,
    /// Time a new instance has to become healthy.
    pub start_timeout: Duration,
}

/// What a health check tries.
#[derive(Clone, Debug, PartialEq)]
pub enum HealthProbe {
    /// `GET path` answers with a status below 400.
    Http {
        /// Path, with its leading slash.
        path: String,
    },
    /// A connection is accepted.
    Tcp,
    /// A command inside the sandbox exits with 0.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// Resource limits of one instance; `None` means the platform's default.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ServiceLimits {
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
}

/// How a new version takes over from the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Time the old version keeps for its open requests after the switch.
    pub drain: Duration,
    /// Time between the stop signal and the kill.
    pub stop_timeout: Duration,
}

/// The state of a service as the node sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceStatus {
    /// Who it is.
    pub id: ServiceId,
    /// The digest that serves.
    pub digest: Digest,
    /// Where it stands.
    pub phase: ServicePhase,
    /// Instances that serve, healthy or not.
    pub instances: Vec<InstanceStatus>,
    /// Rises with every rollout.
    pub generation: u64,
}

/// Where a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServicePhase {
    /// A first version is starting.
    Starting,
    /// All instances are healthy.
    Healthy,
    /// An old version serves while a new one starts.
    RollingOut,
    /// Some instance is not healthy.
    Degraded,
    /// Not running.
    Stopped,
}

impl ServicePhase {
    /// The word used in outputs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::RollingOut => "rolling-out",
            Self::Degraded => "degraded",
            Self::Stopped => "stopped",
        }
    }
}

/// One running instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceStatus {
    /// Names the instance on this node.
    pub id: String,
    /// Pid of its sandbox.
    pub pid: Option<u32>,
    /// Where it listens; `None` when connections are handed over from its own name space.
    pub address: Option<SocketAddr>,
    /// The last health check passed.
    pub healthy: bool,
    /// How often it was restarted.
    pub restarts: u32,
}
