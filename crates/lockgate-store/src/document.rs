//! The stored formats. Each is an enum of versions tagged `v`: old versions stay readable, only
//! the newest is written. They are apart from the model on purpose, so that the model may change
//! without a migration.

pub(crate) mod ai;

use std::collections::BTreeMap;
use std::time::Duration;

use lockgate_model::ai::AiPolicy;
use lockgate_model::gateway::{
    ApiKeySpec, AuthPolicy, BackendSpec, ConsumerSpec, FieldMatch, PathMatch, RateLimitPolicy,
    RouteMatch, RouteSpec, TimeoutPolicy,
};
use lockgate_model::service::{
    HealthCheck, HealthProbe, Rollout, ServiceId, ServiceLimits, ServiceSpec,
};
use lockgate_model::tls::{CaCertificates, ServerIdentity, TlsSettings};
use lockgate_model::{ImageReference, Rng};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::seal::Sealer;
use crate::{DocumentError, StoredService};

/// Reads a document.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    serde_json::from_str(text).map_err(DocumentError::Form)
}

/// Writes a document.
pub(crate) fn render<T: Serialize>(document: &T) -> String {
    serde_json::to_string(document).expect("documents have text keys and finite numbers")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "v", deny_unknown_fields)]
pub(crate) enum ServiceDocument {
    #[serde(rename = "1")]
    V1(Box<ServiceV1>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ServiceV1 {
    generation: u64,
    image: String,
    replicas: u32,
    fixed_port: Option<u16>,
    env: BTreeMap<String, String>,
    /// Name to sealed value.
    sealed_env: BTreeMap<String, String>,
    command: Option<Vec<String>>,
    probe: ProbeV1,
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

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum ProbeV1 {
    Http { path: String },
    Tcp,
    Command { argv: Vec<String> },
}

/// Where a secret is stored, as authenticated by its seal.
fn place(id: &ServiceId, variable: &str) -> String {
    format!("service\n{id}\n{variable}\n1")
}

impl ServiceDocument {
    pub(crate) fn new(service: &StoredService, sealer: &Sealer, rng: &dyn Rng) -> Self {
        let spec = &service.spec;
        let sealed_env = spec
            .secret_env
            .iter()
            .map(|(name, value)| {
                let sealed = sealer.seal(value, &place(&spec.id, name), rng);
                (name.clone(), sealed)
            })
            .collect();
        Self::V1(Box::new(ServiceV1 {
            generation: service.generation,
            image: spec.image.to_string(),
            replicas: spec.replicas,
            fixed_port: spec.fixed_port,
            env: spec.env.clone(),
            sealed_env,
            command: spec.command.clone(),
            probe: match &spec.health.probe {
                HealthProbe::Http { path } => ProbeV1::Http { path: path.clone() },
                HealthProbe::Tcp => ProbeV1::Tcp,
                HealthProbe::Command { argv } => ProbeV1::Command { argv: argv.clone() },
            },
            interval_ms: millis(spec.health.interval),
            timeout_ms: millis(spec.health.timeout),
            fall: spec.health.fall,
            start_timeout_ms: millis(spec.health.start_timeout),
            memory_bytes: spec.limits.memory_bytes,
            processes: spec.limits.processes,
            open_files: spec.limits.open_files,
            drain_ms: millis(spec.rollout.drain),
            stop_timeout_ms: millis(spec.rollout.stop_timeout),
            read_only_root: spec.read_only_root,
        }))
    }

    pub(crate) fn into_model(
        self,
        name: &str,
        sealer: &Sealer,
    ) -> Result<StoredService, DocumentError> {
        let Self::V1(v1) = self;
        let id = ServiceId::parse(name).ok_or(DocumentError::Field("name"))?;
        let mut secret_env = BTreeMap::new();
        for (variable, sealed) in v1.sealed_env {
            let opened = sealer.open(&sealed, &place(&id, &variable));
            let value = opened.ok_or_else(|| DocumentError::Seal(variable.clone()))?;
            secret_env.insert(variable, value);
        }
        let spec = ServiceSpec {
            image: ImageReference::parse(&v1.image).map_err(|_| DocumentError::Field("image"))?,
            id,
            replicas: v1.replicas,
            fixed_port: v1.fixed_port,
            env: v1.env,
            secret_env,
            command: v1.command,
            health: HealthCheck {
                probe: match v1.probe {
                    ProbeV1::Http { path } => HealthProbe::Http { path },
                    ProbeV1::Tcp => HealthProbe::Tcp,
                    ProbeV1::Command { argv } => HealthProbe::Command { argv },
                },
                interval: Duration::from_millis(v1.interval_ms),
                timeout: Duration::from_millis(v1.timeout_ms),
                fall: v1.fall,
                start_timeout: Duration::from_millis(v1.start_timeout_ms),
            },
            limits: ServiceLimits {
                memory_bytes: v1.memory_bytes,
                processes: v1.processes,
                open_files: v1.open_files,
            },
            rollout: Rollout {
                drain: Duration::from_millis(v1.drain_ms),
                stop_timeout: Duration::from_millis(v1.stop_timeout_ms),
            },
            read_only_root: v1.read_only_root,
        };
        Ok(StoredService {
            spec,
            generation: v1.generation,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "v", deny_unknown_fields)]
pub(crate) enum RouteDocument {
    #[serde(rename = "1")]
    V1(Box<RouteV1>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RouteV1 {
    hosts: Vec<String>,
    paths: Vec<PathV1>,
    methods: Vec<String>,
    headers: Vec<(String, Option<String>)>,
    query: Vec<(String, Option<String>)>,
    backends: Vec<BackendV1>,
    strip_prefix: Option<String>,
    auth: AuthV1,
    rate_limit: Option<RateLimitV1>,
    connect_ms: u64,
    head_ms: u64,
    idle_ms: u64,
    total_ms: Option<u64>,
    body_bytes_max: Option<u64>,
    /// Models of an AI route; absent on all others.
    #[serde(default)]
    ai_models: Option<Vec<String>>,
}

/// A pair where nothing is said about TLS, which is what every document before TLS has.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BackendV1 {
    Plain(String, u32),
    Tls(String, u32, TlsV1),
}

/// What is said about a server that speaks TLS.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct TlsV1 {
    server_name: Option<String>,
    ca_certificates: Option<String>,
}

impl TlsV1 {
    /// `None` for the default.
    pub(crate) fn of(tls: &TlsSettings) -> Option<Self> {
        let name = tls.server_name.as_ref();
        (!tls.is_default()).then(|| Self {
            server_name: name.map(|name| name.as_str().to_owned()),
            ca_certificates: tls.ca_certificates.as_ref().map(ToString::to_string),
        })
    }

    pub(crate) fn into_model(self) -> Result<TlsSettings, DocumentError> {
        let name = self.server_name.as_deref().map(ServerIdentity::parse);
        let pem = self.ca_certificates.as_deref().map(CaCertificates::parse);
        Ok(TlsSettings {
            server_name: name
                .transpose()
                .map_err(|_| DocumentError::Field("server_name"))?,
            ca_certificates: pem
                .transpose()
                .map_err(|_| DocumentError::Field("ca_certificates"))?,
        })
    }
}

impl From<&BackendSpec> for BackendV1 {
    fn from(backend: &BackendSpec) -> Self {
        let upstream = backend.upstream.clone();
        match TlsV1::of(&backend.tls) {
            None => Self::Plain(upstream, backend.weight),
            Some(tls) => Self::Tls(upstream, backend.weight, tls),
        }
    }
}

impl BackendV1 {
    fn into_model(self) -> Result<BackendSpec, DocumentError> {
        let (upstream, weight, tls) = match self {
            Self::Plain(upstream, weight) => (upstream, weight, TlsV1::default()),
            Self::Tls(upstream, weight, tls) => (upstream, weight, tls),
        };
        Ok(BackendSpec {
            upstream,
            tls: tls.into_model()?,
            weight,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PathV1 {
    Exact(String),
    Prefix(String),
    Regex(String),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum AuthV1 {
    Public,
    ApiKey {
        header: String,
        consumers: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct RateLimitV1 {
    requests: u64,
    per_ms: u64,
    burst: u64,
}

fn from_fields(fields: &[FieldMatch]) -> Vec<(String, Option<String>)> {
    let pair = |field: &FieldMatch| (field.name.clone(), field.value.clone());
    fields.iter().map(pair).collect()
}

fn into_fields(pairs: Vec<(String, Option<String>)>) -> Vec<FieldMatch> {
    let field = |(name, value)| FieldMatch { name, value };
    pairs.into_iter().map(field).collect()
}

impl From<&RouteSpec> for RouteDocument {
    fn from(route: &RouteSpec) -> Self {
        let path = |path: &PathMatch| match path {
            PathMatch::Exact(p) => PathV1::Exact(p.clone()),
            PathMatch::Prefix(p) => PathV1::Prefix(p.clone()),
            PathMatch::Regex(p) => PathV1::Regex(p.clone()),
        };
        Self::V1(Box::new(RouteV1 {
            hosts: route.matches.hosts.clone(),
            paths: route.matches.paths.iter().map(path).collect(),
            methods: route.matches.methods.clone(),
            headers: from_fields(&route.matches.headers),
            query: from_fields(&route.matches.query),
            backends: route.backends.iter().map(BackendV1::from).collect(),
            strip_prefix: route.strip_prefix.clone(),
            auth: match &route.auth {
                AuthPolicy::Public => AuthV1::Public,
                AuthPolicy::ApiKey { header, consumers } => AuthV1::ApiKey {
                    header: header.clone(),
                    consumers: consumers.clone(),
                },
            },
            rate_limit: route.rate_limit.as_ref().map(|limit| RateLimitV1 {
                requests: limit.requests,
                per_ms: millis(limit.per),
                burst: limit.burst,
            }),
            connect_ms: millis(route.timeouts.connect),
            head_ms: millis(route.timeouts.head),
            idle_ms: millis(route.timeouts.idle),
            total_ms: route.timeouts.total.map(millis),
            body_bytes_max: route.body_bytes_max,
            ai_models: route.ai.as_ref().map(|ai| ai.models.clone()),
        }))
    }
}

impl RouteDocument {
    pub(crate) fn into_model(self, name: String) -> Result<RouteSpec, DocumentError> {
        let Self::V1(v1) = self;
        let path = |path| match path {
            PathV1::Exact(p) => PathMatch::Exact(p),
            PathV1::Prefix(p) => PathMatch::Prefix(p),
            PathV1::Regex(p) => PathMatch::Regex(p),
        };
        let backends = v1.backends.into_iter().map(BackendV1::into_model);
        Ok(RouteSpec {
            name,
            matches: RouteMatch {
                hosts: v1.hosts,
                paths: v1.paths.into_iter().map(path).collect(),
                methods: v1.methods,
                headers: into_fields(v1.headers),
                query: into_fields(v1.query),
            },
            backends: backends.collect::<Result<_, _>>()?,
            strip_prefix: v1.strip_prefix,
            auth: match v1.auth {
                AuthV1::Public => AuthPolicy::Public,
                AuthV1::ApiKey { header, consumers } => AuthPolicy::ApiKey { header, consumers },
            },
            rate_limit: v1.rate_limit.map(|limit| RateLimitPolicy {
                requests: limit.requests,
                per: Duration::from_millis(limit.per_ms),
                burst: limit.burst,
            }),
            timeouts: TimeoutPolicy {
                connect: Duration::from_millis(v1.connect_ms),
                head: Duration::from_millis(v1.head_ms),
                idle: Duration::from_millis(v1.idle_ms),
                total: v1.total_ms.map(Duration::from_millis),
            },
            body_bytes_max: v1.body_bytes_max,
            ai: v1.ai_models.map(|models| AiPolicy { models }),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "v", deny_unknown_fields)]
pub(crate) enum ConsumerDocument {
    #[serde(rename = "1")]
    V1 {},
}

impl ConsumerDocument {
    pub(crate) fn into_model(self, name: String) -> ConsumerSpec {
        let Self::V1 {} = self;
        ConsumerSpec { name }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "v", deny_unknown_fields)]
pub(crate) enum ApiKeyDocument {
    #[serde(rename = "1")]
    V1 {
        consumer: String,
        hash: String,
        enabled: bool,
    },
}

impl From<&ApiKeySpec> for ApiKeyDocument {
    fn from(key: &ApiKeySpec) -> Self {
        Self::V1 {
            consumer: key.consumer.clone(),
            hash: hex::encode(key.hash),
            enabled: key.enabled,
        }
    }
}

impl ApiKeyDocument {
    pub(crate) fn into_model(self, id: String) -> Result<ApiKeySpec, DocumentError> {
        let Self::V1 {
            consumer,
            hash: digits,
            enabled,
        } = self;
        let mut hash = [0; 32];
        hex::decode_to_slice(&digits, &mut hash).map_err(|_| DocumentError::Field("hash"))?;
        Ok(ApiKeySpec {
            id,
            consumer,
            hash,
            enabled,
        })
    }
}
