//! Services on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use lockgate_control::ServiceLogLine;
use lockgate_diag::Secret;
use lockgate_model::service::{
    HealthCheck, HealthProbe, InstanceStatus, Rollout, ServiceId, ServiceLimits, ServicePhase,
    ServiceSpec, ServiceStatus,
};
use lockgate_model::{Digest, ImageReference};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FieldError, Problem, millis};

/// What to run. Has no `Debug`: it holds secrets.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceBody {
    /// Image with its digest.
    pub image: String,
    /// Number of instances.
    pub replicas: u32,
    /// Port the program listens on, when it does not read `PORT`.
    #[serde(default)]
    pub fixed_port: Option<u16>,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Secret environment; never part of a response.
    #[serde(default)]
    pub secret_env: BTreeMap<String, String>,
    /// Replaces the image's entry point and command.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// How to tell that it works.
    pub health: HealthBody,
    /// Limits of one instance.
    #[serde(default)]
    pub limits: LimitsBody,
    /// How a new version takes over.
    pub rollout: RolloutBody,
    /// The root file system cannot be written.
    #[serde(default)]
    pub read_only_root: bool,
}

/// How to tell that an instance works.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthBody {
    /// What is tried.
    pub probe: ProbeBody,
    /// Time between tries.
    pub interval_ms: u64,
    /// Time limit of one try.
    pub timeout_ms: u64,
    /// Failures in a row that make an instance unhealthy.
    pub fall: u32,
    /// Time a new instance has to become healthy.
    pub start_timeout_ms: u64,
}

/// What a health check tries.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum ProbeBody {
    /// `GET path` answers below 400.
    Http {
        /// Path with its leading slash.
        path: String,
    },
    /// A connection is accepted.
    Tcp,
    /// A command in the sandbox exits with 0.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// Limits of one instance; absent means the platform's default.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsBody {
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
}

/// How a new version takes over.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutBody {
    /// Time the old version keeps for its open requests.
    pub drain_ms: u64,
    /// Time between the stop signal and the kill.
    pub stop_timeout_ms: u64,
}

impl From<&ServiceSpec> for ServiceBody {
    fn from(spec: &ServiceSpec) -> Self {
        let exposed =
            |(name, value): (&String, &Secret<String>)| (name.clone(), value.expose().clone());
        Self {
            image: spec.image.to_string(),
            replicas: spec.replicas,
            fixed_port: spec.fixed_port,
            env: spec.env.clone(),
            secret_env: spec.secret_env.iter().map(exposed).collect(),
            command: spec.command.clone(),
            health: HealthBody {
                probe: match &spec.health.probe {
                    HealthProbe::Http { path } => ProbeBody::Http { path: path.clone() },
                    HealthProbe::Tcp => ProbeBody::Tcp,
                    HealthProbe::Command { argv } => ProbeBody::Command { argv: argv.clone() },
                },
                interval_ms: millis(spec.health.interval),
                timeout_ms: millis(spec.health.timeout),
                fall: spec.health.fall,
                start_timeout_ms: millis(spec.health.start_timeout),
            },
            limits: LimitsBody {
                memory_bytes: spec.limits.memory_bytes,
                processes: spec.limits.processes,
                open_files: spec.limits.open_files,
            },
            rollout: RolloutBody {
                drain_ms: millis(spec.rollout.drain),
                stop_timeout_ms: millis(spec.rollout.stop_timeout),
            },
            read_only_root: spec.read_only_root,
        }
    }
}

impl ServiceBody {
    /// The spec under `id`.
    pub fn into_model(self, id: ServiceId) -> Result<ServiceSpec, FieldError> {
        let image = ImageReference::parse(&self.image)
            .map_err(|error| FieldError(format!("image: {error}")))?;
        let sealed = |(name, value)| (name, Secret::new(value));
        Ok(ServiceSpec {
            id,
            image,
            replicas: self.replicas,
            fixed_port: self.fixed_port,
            env: self.env,
            secret_env: self.secret_env.into_iter().map(sealed).collect(),
            command: self.command,
            health: HealthCheck {
                probe: match self.health.probe {
                    ProbeBody::Http { path } => HealthProbe::Http { path },
                    ProbeBody::Tcp => HealthProbe::Tcp,
                    ProbeBody::Command { argv } => HealthProbe::Command { argv },
                },
                interval: Duration::from_millis(self.health.interval_ms),
                timeout: Duration::from_millis(self.health.timeout_ms),
                fall: self.health.fall,
                start_timeout: Duration::from_millis(self.health.start_timeout_ms),
            },
            limits: ServiceLimits {
                memory_bytes: self.limits.memory_bytes,
                processes: self.limits.processes,
                open_files: self.limits.open_files,
            },
            rollout: Rollout {
                drain: Duration::from_millis(self.rollout.drain_ms),
                stop_timeout: Duration::from_millis(self.rollout.stop_timeout_ms),
            },
            read_only_root: self.read_only_root,
        })
    }
}

/// A service as the node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// `project/stack/name`.
    pub id: String,
    /// Address for routes; survives every rollout.
    pub endpoint: String,
    /// Digest that serves.
    pub digest: String,
    /// `starting`, `healthy`, `rolling-out`, `degraded` or `stopped`.
    pub phase: String,
    /// Rises with every rollout.
    pub generation: u64,
    /// Instances that run.
    pub instances: Vec<InstanceView>,
}

/// One running instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    /// Names it on its node.
    pub id: String,
    /// Pid of its sandbox.
    pub pid: Option<u32>,
    /// Where it listens, when it has an address of its own.
    pub address: Option<String>,
    /// The last health check passed.
    pub healthy: bool,
    /// How often it was restarted.
    pub restarts: u32,
}

impl From<ServiceStatus> for ServiceView {
    fn from(status: ServiceStatus) -> Self {
        let instance = |instance: InstanceStatus| InstanceView {
            id: instance.id,
            pid: instance.pid,
            address: instance.address.map(|address| address.to_string()),
            healthy: instance.healthy,
            restarts: instance.restarts,
        };
        Self {
            endpoint: status.id.endpoint(),
            id: status.id.to_string(),
            digest: status.digest.to_string(),
            phase: status.phase.as_str().into(),
            generation: status.generation,
            instances: status.instances.into_iter().map(instance).collect(),
        }
    }
}

impl TryFrom<ServiceView> for ServiceStatus {
    type Error = FieldError;

    fn try_from(view: ServiceView) -> Result<Self, FieldError> {
        let phases = [
            ServicePhase::Starting,
            ServicePhase::Healthy,
            ServicePhase::RollingOut,
            ServicePhase::Degraded,
            ServicePhase::Stopped,
        ];
        let phase = phases.into_iter().find(|p| p.as_str() == view.phase);
        let instance = |view: InstanceView| {
            let address = view.address.map(|text| {
                let error = || FieldError(format!("address: `{text}` is no socket address"));
                text.parse().map_err(|_| error())
            });
            Ok(InstanceStatus {
                id: view.id,
                pid: view.pid,
                address: address.transpose()?,
                healthy: view.healthy,
                restarts: view.restarts,
            })
        };
        Ok(Self {
            id: ServiceId::parse(&view.id)
                .ok_or_else(|| FieldError(format!("id: `{}` is no service", view.id)))?,
            digest: Digest::parse(&view.digest).map_err(|e| FieldError(e.to_string()))?,
            phase: phase.ok_or_else(|| FieldError(format!("phase: `{}`", view.phase)))?,
            instances: view
                .instances
                .into_iter()
                .map(instance)
                .collect::<Result<_, FieldError>>()?,
            generation: view.generation,
        })
    }
}

/// One JSON line of the answer to a service's `PUT`. The last one is `done` or `failed`; an
/// answer that ends without either was cut. Empty lines keep the connection alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum ServiceEvent {
    /// A line for people.
    Progress {
        /// The line.
        message: String,
    },
    /// The new version serves.
    Done {
        /// The service now.
        service: ServiceView,
    },
    /// The rollout was undone.
    Failed {
        /// Why.
        problem: Problem,
    },
}

/// One line of output, as one JSON line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// The instance that printed it.
    pub instance: String,
    /// When it was read.
    pub at: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The line.
    pub text: String,
}

impl From<ServiceLogLine> for LogLine {
    fn from(line: ServiceLogLine) -> Self {
        Self {
            instance: line.instance,
            at: line.at.to_string(),
            stream: if line.is_error { "stderr" } else { "stdout" }.into(),
            text: line.text,
        }
    }
}
