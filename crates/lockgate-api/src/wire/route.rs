//! Routes on the wire.

use std::time::Duration;

use lockgate_control::RouteStatus;
use lockgate_model::ai::AiPolicy;
use lockgate_model::gateway::{
    AuthPolicy, BackendSpec, FieldMatch, PathMatch, RateLimitPolicy, RouteMatch, RouteSpec,
    TimeoutPolicy,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FieldError, TlsBody, millis};

/// What a route does. Its name is in the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteBody {
    /// Hosts, exact or `*.example.org`; empty takes every host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Paths; empty takes every path.
    #[serde(default)]
    pub paths: Vec<PathBody>,
    /// Methods; empty takes every method.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Headers; all must match.
    #[serde(default)]
    pub headers: Vec<FieldBody>,
    /// Query parameters; all must match.
    #[serde(default)]
    pub query: Vec<FieldBody>,
    /// Where requests go; empty on AI routes.
    #[serde(default)]
    pub backends: Vec<BackendBody>,
    /// Prefix removed before forwarding.
    #[serde(default)]
    pub strip_prefix: Option<String>,
    /// Who may call. There is no default.
    pub auth: AuthBody,
    /// How often one caller may call.
    #[serde(default)]
    pub rate_limit: Option<RateLimitBody>,
    /// Time limits.
    #[serde(default)]
    pub timeouts: TimeoutsBody,
    /// Largest request body; absent relays any size.
    #[serde(default)]
    pub body_bytes_max: Option<u64>,
    /// Makes this an AI route: models answer, and there are no backends.
    #[serde(default)]
    pub ai: Option<AiBody>,
}

/// An AI route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AiBody {
    /// Names of models, `project/stack/name`.
    pub models: Vec<String>,
}

/// How a path is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PathBody {
    /// The whole path.
    Exact(String),
    /// The path or a parent of it, by whole segments.
    Prefix(String),
    /// An anchored regular expression.
    Regex(String),
}

/// A header or query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldBody {
    /// Its name.
    pub name: String,
    /// Its value; absent means any.
    #[serde(default)]
    pub value: Option<String>,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendBody {
    /// `service://project/stack/name`, `http://host:port` or `https://host:port`.
    pub upstream: String,
    /// How its server is known, where the URL's host is not enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsBody>,
    /// Share relative to the others.
    pub weight: u32,
}

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum AuthBody {
    /// Anybody.
    Public,
    /// Bearers of an API key.
    ApiKey {
        /// Header that carries the key, lower case.
        header: String,
        /// Consumers that may call; empty means every consumer.
        #[serde(default)]
        consumers: Vec<String>,
    },
}

/// A token bucket per caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitBody {
    /// Requests added per period.
    pub requests: u64,
    /// The period.
    pub per_ms: u64,
    /// Most at once.
    pub burst: u64,
}

/// Time limits of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TimeoutsBody {
    /// Connecting to the upstream.
    pub connect_ms: u64,
    /// To the response head.
    pub head_ms: u64,
    /// Between two reads of a body.
    pub idle_ms: u64,
    /// The whole exchange.
    pub total_ms: Option<u64>,
}

impl Default for TimeoutsBody {
    fn default() -> Self {
        Self::from(&TimeoutPolicy::default())
    }
}

impl From<&TimeoutPolicy> for TimeoutsBody {
    fn from(policy: &TimeoutPolicy) -> Self {
        Self {
            connect_ms: millis(policy.connect),
            head_ms: millis(policy.head),
            idle_ms: millis(policy.idle),
            total_ms: policy.total.map(millis),
        }
    }
}

impl From<&RouteSpec> for RouteBody {
    fn from(route: &RouteSpec) -> Self {
        let path = |path: &PathMatch| match path {
            PathMatch::Exact(p) => PathBody::Exact(p.clone()),
            PathMatch::Prefix(p) => PathBody::Prefix(p.clone()),
            PathMatch::Regex(p) => PathBody::Regex(p.clone()),
        };
        let field = |field: &FieldMatch| FieldBody {
            name: field.name.clone(),
            value: field.value.clone(),
        };
        let backend = |backend: &BackendSpec| BackendBody {
            upstream: backend.upstream.clone(),
            tls: TlsBody::of(&backend.tls),
            weight: backend.weight,
        };
        Self {
            hosts: route.matches.hosts.clone(),
            paths: route.matches.paths.iter().map(path).collect(),
            methods: route.matches.methods.clone(),
            headers: route.matches.headers.iter().map(field).collect(),
            query: route.matches.query.iter().map(field).collect(),
            backends: route.backends.iter().map(backend).collect(),
            strip_prefix: route.strip_prefix.clone(),
            auth: match &route.auth {
                AuthPolicy::Public => AuthBody::Public,
                AuthPolicy::ApiKey { header, consumers } => AuthBody::ApiKey {
                    header: header.clone(),
                    consumers: consumers.clone(),
                },
            },
            rate_limit: route.rate_limit.as_ref().map(|limit| RateLimitBody {
                requests: limit.requests,
                per_ms: millis(limit.per),
                burst: limit.burst,
            }),
            timeouts: TimeoutsBody::from(&route.timeouts),
            body_bytes_max: route.body_bytes_max,
            ai: route.ai.as_ref().map(|ai| AiBody {
                models: ai.models.clone(),
            }),
        }
    }
}

impl RouteBody {
    /// The spec under `name`.
    pub fn into_model(self, name: String) -> Result<RouteSpec, FieldError> {
        let path = |path| match path {
            PathBody::Exact(p) => PathMatch::Exact(p),
            PathBody::Prefix(p) => PathMatch::Prefix(p),
            PathBody::Regex(p) => PathMatch::Regex(p),
        };
        let field = |body: FieldBody| FieldMatch {
            name: body.name,
            value: body.value,
        };
        let backend = |body: BackendBody| {
            Ok(BackendSpec {
                tls: TlsBody::into_model(body.tls)?,
                upstream: body.upstream,
                weight: body.weight,
            })
        };
        let backends = self.backends.into_iter().map(backend);
        Ok(RouteSpec {
            name,
            matches: RouteMatch {
                hosts: self.hosts,
                paths: self.paths.into_iter().map(path).collect(),
                methods: self.methods,
                headers: self.headers.into_iter().map(field).collect(),
                query: self.query.into_iter().map(field).collect(),
            },
            backends: backends.collect::<Result<_, FieldError>>()?,
            strip_prefix: self.strip_prefix,
            auth: match self.auth {
                AuthBody::Public => AuthPolicy::Public,
                AuthBody::ApiKey { header, consumers } => AuthPolicy::ApiKey { header, consumers },
            },
            rate_limit: self.rate_limit.map(|limit| RateLimitPolicy {
                requests: limit.requests,
                per: Duration::from_millis(limit.per_ms),
                burst: limit.burst,
            }),
            timeouts: TimeoutPolicy {
                connect: Duration::from_millis(self.timeouts.connect_ms),
                head: Duration::from_millis(self.timeouts.head_ms),
                idle: Duration::from_millis(self.timeouts.idle_ms),
                total: self.timeouts.total_ms.map(Duration::from_millis),
            },
            body_bytes_max: self.body_bytes_max,
            ai: self.ai.map(|AiBody { models }| AiPolicy { models }),
        })
    }
}

/// A route as it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// `project/stack/name`.
    pub name: String,
    /// Where a client reaches it.
    pub url: String,
    /// What it does.
    pub route: RouteBody,
}

impl From<RouteStatus> for RouteView {
    fn from(status: RouteStatus) -> Self {
        Self {
            route: RouteBody::from(&status.spec),
            name: status.spec.name,
            url: status.url,
        }
    }
}

impl TryFrom<RouteView> for RouteStatus {
    type Error = FieldError;

    fn try_from(view: RouteView) -> Result<Self, FieldError> {
        Ok(Self {
            spec: view.route.into_model(view.name)?,
            url: view.url,
        })
    }
}
