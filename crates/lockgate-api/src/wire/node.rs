//! The node itself, consumers and API keys on the wire.

use lockgate_control::{AuditRow, LATENCY_BOUNDS_MS, Rollup};
use lockgate_model::Timestamp;
use lockgate_model::ai::LedgerHealth;
use lockgate_model::gateway::{ApiKeySpec, EndpointSpec, GatewaySpec, UpstreamSpec};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RouteBody;

/// A running node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Release.
    pub version: String,
    /// Process.
    pub pid: u32,
    /// When it started.
    pub started: String,
    /// Addresses it listens on.
    pub addresses: Vec<String>,
    /// Where the gateway is reached.
    pub gateway_url: String,
    /// Version of the spec published last.
    pub spec_version: u64,
    /// Version of the table that serves.
    pub table_version: u64,
    /// Why the newest spec was refused; empty when it serves.
    pub table_refusal: Vec<String>,
    /// Number of services.
    pub services: u64,
    /// Number of routes.
    pub routes: u64,
    /// How the ledger of AI calls is.
    #[serde(default)]
    pub ledger: LedgerView,
}

/// The ledger of AI calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LedgerView {
    /// There is no room for another entry: calls are refused.
    pub full: bool,
    /// Calls refused since the node started, because there was no room.
    pub refused: u64,
    /// Files on disk, the one that is written included.
    pub segments: u64,
    /// Files that are damaged and kept aside: calls may be missing.
    pub damaged_files: u64,
    /// The database takes no entries: it knows less than the files.
    pub behind: bool,
}

impl From<LedgerHealth> for LedgerView {
    fn from(health: LedgerHealth) -> Self {
        Self {
            full: health.full,
            refused: health.refused,
            segments: health.segments,
            damaged_files: health.damaged,
            behind: health.behind,
        }
    }
}

/// How to shut down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShutdownBody {
    /// Time open requests have to finish.
    pub drain_ms: u64,
    /// Services run on; the next node adopts them.
    #[serde(default)]
    pub keep_services: bool,
}

/// A link to the console. Has no `Debug`: who has it may open the console once.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleLinkView {
    /// Where to point a browser on the node's machine.
    pub url: String,
    /// Time it may be opened, if it is not opened before.
    pub expires_in_ms: u64,
}

/// A consumer has nothing but its name, which is in the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerBody {}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerView {
    /// `project/stack/name`.
    pub name: String,
}

/// An API key to be made valid. Has no `Debug`: it holds the key.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeyBody {
    /// Consumer it stands for.
    pub consumer: String,
    /// The whole text; never part of a response.
    pub key: String,
    /// Refused when false.
    pub enabled: bool,
}

/// An API key as the node has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyView {
    /// Public id.
    pub id: String,
    /// Consumer it stands for.
    pub consumer: String,
    /// Refused when false.
    pub enabled: bool,
}

impl From<&ApiKeySpec> for ApiKeyView {
    fn from(key: &ApiKeySpec) -> Self {
        Self {
            id: key.id.clone(),
            consumer: key.consumer.clone(),
            enabled: key.enabled,
        }
    }
}

/// The spec published last, without the hashes of its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayView {
    /// Its version.
    pub version: u64,
    /// Routes by name.
    pub routes: std::collections::BTreeMap<String, RouteBody>,
    /// Names of consumers.
    pub consumers: Vec<String>,
    /// API keys.
    pub api_keys: Vec<ApiKeyView>,
    /// Upstreams with the endpoints they have now.
    pub upstreams: Vec<UpstreamView>,
}

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamView {
    /// `service://project/stack/name` or the origin of a URL.
    pub name: String,
    /// Addresses, or `instance:port` of a handed-over socket.
    pub endpoints: Vec<String>,
}

impl From<&GatewaySpec> for GatewayView {
    fn from(spec: &GatewaySpec) -> Self {
        let endpoint = |endpoint: &EndpointSpec| match endpoint {
            EndpointSpec::Tcp(address) => vec![address.to_string()],
            EndpointSpec::Handed { instance, port } => vec![format!("{instance}:{port}")],
            EndpointSpec::Host(host) => host.addresses.iter().map(ToString::to_string).collect(),
        };
        let upstream = |upstream: &UpstreamSpec| UpstreamView {
            name: upstream.name.clone(),
            endpoints: upstream.endpoints.iter().flat_map(endpoint).collect(),
        };
        let route = |route| (RouteBody::from(route), route);
        Self {
            version: spec.version,
            routes: spec
                .routes
                .iter()
                .map(route)
                .map(|(body, route)| (route.name.clone(), body))
                .collect(),
            consumers: spec.consumers.iter().map(|c| c.name.clone()).collect(),
            api_keys: spec.api_keys.iter().map(ApiKeyView::from).collect(),
            upstreams: spec.upstreams.iter().map(upstream).collect(),
        }
    }
}

/// One change of the node's objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// Number, without gaps; pass the last one as `before` for the next page.
    pub seq: u64,
    /// When.
    pub at: String,
    /// Who.
    pub actor: String,
    /// `put` or `remove`.
    pub action: String,
    /// What it was done to.
    pub object: String,
    /// The request it came with.
    pub request_id: String,
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self {
            seq: row.seq,
            at: row.act.at.to_string(),
            actor: row.act.actor,
            action: row.action,
            object: row.object,
            request_id: row.act.request,
        }
    }
}

/// Request counts of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficView {
    /// Upper bounds of the latency buckets in milliseconds; the last bucket takes the rest.
    pub bounds_ms: Vec<u64>,
    /// Minutes with requests, oldest first.
    pub minutes: Vec<MinuteView>,
}

/// Request counts of one minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MinuteView {
    /// Its beginning.
    pub at: String,
    /// Requests.
    pub requests: u64,
    /// Requests answered with 500 and above.
    pub errors: u64,
    /// Requests per latency bucket.
    pub latency: Vec<u64>,
}

impl From<Vec<Rollup>> for TrafficView {
    fn from(rollups: Vec<Rollup>) -> Self {
        let minute = |rollup: Rollup| MinuteView {
            at: Timestamp::from_secs(rollup.minute.saturating_mul(60)).to_string(),
            requests: rollup.requests,
            errors: rollup.errors,
            latency: rollup.latency.to_vec(),
        };
        Self {
            bounds_ms: LATENCY_BOUNDS_MS.to_vec(),
            minutes: rollups.into_iter().map(minute).collect(),
        }
    }
}
