//! What the `lockgate` package asks of a node. The adapter over the admin API lives in the binary;
//! tests bring a fake.

use async_trait::async_trait;
use lockgate_diag::Secret;
use lockgate_model::ServiceId;
use lockgate_model::ai::{ModelSpec, VendorSpec};
use lockgate_model::gateway::{ConsumerSpec, RouteSpec};
use lockgate_model::service::{ServiceSpec, ServiceStatus};
use lockgate_model::tls::TlsSettings;

/// A running node, seen from a deployment.
///
/// Every `apply_` is idempotent by name or id: applying the same thing again changes nothing and
/// answers the same. Every `remove_` of something unknown succeeds.
#[async_trait]
pub trait Node: Send + Sync {
    /// Brings a service to `spec`: returns once the new version is healthy and serves, or fails
    /// after the rollout was undone. `progress` takes one line at a time.
    ///
    /// Dropping the future stops the waiting, not the rollout.
    async fn apply_service(
        &self,
        spec: ServiceSpec,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ServiceStatus, NodeError>;
    /// The service, if the node has it.
    async fn find_service(&self, id: &ServiceId) -> Result<Option<ServiceStatus>, NodeError>;
    /// Stops and forgets a service.
    async fn remove_service(&self, id: &ServiceId) -> Result<(), NodeError>;

    /// Publishes a route under `route.name`; returns once the table that holds it serves. A
    /// backend's `upstream` is `service://project/stack/name` or the origin of a URL.
    async fn apply_route(&self, route: RouteSpec) -> Result<RouteStatus, NodeError>;
    /// The route of this name, if the node has it.
    async fn find_route(&self, name: &str) -> Result<Option<RouteStatus>, NodeError>;
    /// Withdraws a route.
    async fn remove_route(&self, name: &str) -> Result<(), NodeError>;

    /// Makes a consumer known.
    async fn apply_consumer(&self, consumer: ConsumerSpec) -> Result<(), NodeError>;
    /// The consumer of this name, if the node has it.
    async fn find_consumer(&self, name: &str) -> Result<Option<ConsumerSpec>, NodeError>;
    /// Forgets a consumer; its keys are refused from then on.
    async fn remove_consumer(&self, name: &str) -> Result<(), NodeError>;

    /// Makes a key valid. The node keeps only a keyed hash of it.
    async fn apply_api_key(&self, request: ApiKeyRequest) -> Result<ApiKeyStatus, NodeError>;
    /// The key of this public id, if the node has it.
    async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyStatus>, NodeError>;
    /// Makes a key invalid for good.
    async fn remove_api_key(&self, id: &str) -> Result<(), NodeError>;

    /// Makes an AI vendor known. The node seals its key and never tells it.
    async fn apply_vendor(&self, vendor: VendorSpec) -> Result<(), NodeError>;
    /// The AI vendor of this name, if the node has it.
    async fn find_vendor(&self, name: &str) -> Result<Option<VendorStatus>, NodeError>;
    /// Forgets an AI vendor.
    async fn remove_vendor(&self, name: &str) -> Result<(), NodeError>;

    /// Makes an AI model known.
    async fn apply_model(&self, model: ModelSpec) -> Result<(), NodeError>;
    /// The AI model of this name, if the node has it.
    async fn find_model(&self, name: &str) -> Result<Option<ModelSpec>, NodeError>;
    /// Forgets an AI model.
    async fn remove_model(&self, name: &str) -> Result<(), NodeError>;

    /// Where the gateway is reached, for example `http://127.0.0.1:8080`, without a final slash.
    async fn gateway_url(&self) -> Result<String, NodeError>;
}

/// A route as the node has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteStatus {
    /// What is published: equal to what was applied unless someone changed it since.
    pub spec: RouteSpec,
    /// Where a client reaches it: the gateway's URL, or the route's first plain host, and its
    /// first plain path.
    pub url: String,
}

/// A key to be made valid.
#[derive(Clone, Debug)]
pub struct ApiKeyRequest {
    /// Name of the resource, `project/stack/name`; for people and audit.
    pub name: String,
    /// Consumer it stands for, `project/stack/name`.
    pub consumer: String,
    /// The whole text, `lgk_<16 hex>_<64 hex>`; the public id is its first part.
    pub key: Secret<String>,
    /// Refused when false.
    pub enabled: bool,
}

/// A key as the node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyStatus {
    /// Public id, 16 lower-case hex digits.
    pub id: String,
    /// Consumer it stands for.
    pub consumer: String,
    /// Refused when false.
    pub enabled: bool,
}

/// An AI vendor as the node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorStatus {
    /// Where its API is.
    pub base_url: String,
    /// How its server is known.
    pub tls: TlsSettings,
    /// Whether the node has a key for it.
    pub has_key: bool,
    /// Text of its price file.
    pub prices: String,
}

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node said no; nothing changed, or what changed was undone.
    #[error("{message}")]
    Refused {
        /// What was found, in the user's words.
        message: String,
        /// Next steps.
        hints: Vec<String>,
        /// What led to it, for example the last log lines of an instance.
        causes: Vec<String>,
    },
    /// No node answered, and the request cannot have had an effect.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// The connection was lost after the request was sent: it may have had its effect.
    #[error("the node's answer was lost: {0}")]
    Lost(String),
}
