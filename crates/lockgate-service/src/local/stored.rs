//! `instance.json`: what a later node needs to know of an instance. Never a secret value.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lockgate_model::gateway::EndpointSpec;
use lockgate_model::service::{HealthCheck, HealthProbe, Rollout, ServiceLimits, ServiceSpec};
use lockgate_model::{ImageReference, ServiceId};
use serde::{Deserialize, Serialize};

use crate::platform::InstanceSpec;
use crate::sandbox::spec::{IdMap, Rlimits};

/// The file. New fields get defaults, so that an older node's instances stay readable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredInstance {
    service: StoredService,
    generation: u64,
    /// Wall time of the start, milliseconds.
    pub(super) started_ms: i64,
    /// Port on the machine, or inside when `own_network`.
    pub(super) port: u16,
    pub(super) own_network: bool,
    pub(super) stop_signal: i32,
    pub(super) ids: IdMap,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) cwd: String,
    /// Environment of health commands: the program's, without secrets.
    pub(super) env: BTreeMap<String, String>,
    pub(super) rlimits: Rlimits,
    /// Folders of its cgroups.
    pub(super) cgroups: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// Everything of a start that is not the request itself.
pub(super) struct Started {
    pub(super) started_ms: i64,
    pub(super) port: u16,
    pub(super) stop_signal: i32,
    pub(super) ids: IdMap,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) cwd: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) rlimits: Rlimits,
    pub(super) cgroups: Vec<String>,
    pub(super) notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredService {
    id: String,
    image: String,
    replicas: u32,
    fixed_port: Option<u16>,
    env: BTreeMap<String, String>,
    command: Option<Vec<String>>,
    probe: StoredProbe,
    interval_ms: u64,
    timeout_ms: u64,
    fall: u32,
    start_timeout_ms: u64,
    memory_bytes: Option<u64>,
    processes: Option<u64>,
    open_files: Option<u64>,
    drain_ms: u64,
    stop_timeout_ms: u64,
    read_only_root: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum StoredProbe {
    Http { path: String },
    Tcp,
    Command { argv: Vec<String> },
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl StoredInstance {
    pub(super) fn new(spec: &InstanceSpec, started: Started) -> Self {
        let service = &spec.service;
        Self {
            service: StoredService {
                id: service.id.to_string(),
                image: service.image.to_string(),
                replicas: service.replicas,
                fixed_port: service.fixed_port,
                env: service.env.clone(),
                command: service.command.clone(),
                probe: match &service.health.probe {
                    HealthProbe::Http { path } => StoredProbe::Http { path: path.clone() },
                    HealthProbe::Tcp => StoredProbe::Tcp,
                    HealthProbe::Command { argv } => StoredProbe::Command { argv: argv.clone() },
                },
                interval_ms: ms(service.health.interval),
                timeout_ms: ms(service.health.timeout),
                fall: service.health.fall,
                start_timeout_ms: ms(service.health.start_timeout),
                memory_bytes: service.limits.memory_bytes,
                processes: service.limits.processes,
                open_files: service.limits.open_files,
                drain_ms: ms(service.rollout.drain),
                stop_timeout_ms: ms(service.rollout.stop_timeout),
                read_only_root: service.read_only_root,
            },
            generation: spec.generation,
            started_ms: started.started_ms,
            port: started.port,
            own_network: service.fixed_port.is_some(),
            stop_signal: started.stop_signal,
            ids: started.ids,
            uid: started.uid,
            gid: started.gid,
            cwd: started.cwd,
            env: started.env,
            rlimits: started.rlimits,
            cgroups: started.cgroups,
            notes: started.notes,
        }
    }

    /// The request, without secrets; `None` if the file is not ours.
    pub(super) fn spec(&self, id: &str) -> Option<InstanceSpec> {
        let stored = &self.service;
        Some(InstanceSpec {
            id: id.to_owned(),
            generation: self.generation,
            service: ServiceSpec {
                id: ServiceId::parse(&stored.id)?,
                image: ImageReference::parse(&stored.image).ok()?,
                replicas: stored.replicas,
                fixed_port: stored.fixed_port,
                env: stored.env.clone(),
                secret_env: BTreeMap::new(),
                command: stored.command.clone(),
                health: HealthCheck {
                    probe: match &stored.probe {
                        StoredProbe::Http { path } => HealthProbe::Http { path: path.clone() },
                        StoredProbe::Tcp => HealthProbe::Tcp,
                        StoredProbe::Command { argv } => {
                            HealthProbe::Command { argv: argv.clone() }
                        }
                    },
                    interval: Duration::from_millis(stored.interval_ms),
                    timeout: Duration::from_millis(stored.timeout_ms),
                    fall: stored.fall,
                    start_timeout: Duration::from_millis(stored.start_timeout_ms),
                },
                limits: ServiceLimits {
                    memory_bytes: stored.memory_bytes,
                    processes: stored.processes,
                    open_files: stored.open_files,
                },
                rollout: Rollout {
                    drain: Duration::from_millis(stored.drain_ms),
                    stop_timeout: Duration::from_millis(stored.stop_timeout_ms),
                },
                read_only_root: stored.read_only_root,
            },
        })
    }

    /// Where it is reached.
    pub(super) fn endpoint(&self, id: &str) -> EndpointSpec {
        if self.own_network {
            EndpointSpec::Handed {
                instance: id.to_owned(),
                port: self.port,
            }
        } else {
            EndpointSpec::Tcp(self.address())
        }
    }

    /// Its address as seen from where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}
