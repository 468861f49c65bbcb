//! The typed client of a node's API.

mod ai;
mod wire_call;

use std::path::PathBuf;

use http::Method;
use lockgate_control::RouteStatus;
use lockgate_diag::Secret;
use lockgate_model::gateway::{ApiKeySpec, ConsumerSpec, RouteSpec};
use lockgate_model::service::{ServiceId, ServiceSpec, ServiceStatus};

use crate::router::Shutdown;
use crate::wire::{
    ApiKeyBody, ApiKeyView, AuditView, ConsoleLinkView, ConsumerBody, ConsumerView, GatewayView,
    LogLine, NodeStatus, Problem, RouteBody, RouteView, ServiceBody, ServiceEvent, ServiceView,
    ShutdownBody, TrafficView,
};

/// Where a node's API listens.
#[derive(Clone, Debug)]
pub enum Target {
    /// Its Unix socket.
    Unix(PathBuf),
    /// A TCP address with the node's bearer key.
    Tcp {
        /// `host:port`.
        address: String,
        /// The key.
        key: Secret<String>,
    },
}

/// Calls a node. Each call is one connection, so a node that restarts in between is no error.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No node answered; the call had no effect.
    #[error("the node at {target} cannot be reached")]
    Unreachable {
        /// Socket path or address.
        target: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The node said no; nothing changed, or what changed was undone.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The connection was lost after the request was sent: it may have had its effect.
    #[error("the node's answer was lost: {0}")]
    Lost(String),
    /// The answer is not what this release expects.
    #[error("the node answered in a way this release does not know: {0}")]
    Protocol(String),
}

impl Client {
    /// Connects once to see that a node listens, and asks how it is.
    pub async fn connect(target: Target) -> Result<(Self, NodeStatus), ClientError> {
        let client = Self { target };
        let status = client.status().await?;
        Ok((client, status))
    }

    /// How the node is.
    pub async fn status(&self) -> Result<NodeStatus, ClientError> {
        self.get("/v1/status").await
    }

    /// Asks the node to shut down; returns before it is down.
    pub async fn shutdown(&self, shutdown: Shutdown) -> Result<(), ClientError> {
        let body = ShutdownBody {
            drain_ms: crate::wire::millis(shutdown.drain),
            keep_services: shutdown.keep_services,
        };
        self.send(Method::POST, "/v1/shutdown", Some(&body)).await?;
        Ok(())
    }

    /// A link that opens the console in one browser on the node's machine.
    pub async fn console_link(&self) -> Result<ConsoleLinkView, ClientError> {
        self.post("/v1/console/links").await
    }

    /// Brings a service to `spec`; returns once the new version is healthy and serves. Dropping
    /// the future stops the waiting, not the rollout.
    pub async fn apply_service(
        &self,
        spec: &ServiceSpec,
        on_progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ServiceStatus, ClientError> {
        let path = object_path("services", &spec.id);
        let body = ServiceBody::from(spec);
        let mut lines = self.open(Method::PUT, &path, Some(&body)).await?;
        while let Some(event) = lines.next::<ServiceEvent>().await? {
            match event {
                ServiceEvent::Progress { message } => on_progress(message),
                ServiceEvent::Done { service } => return service_status(service),
                ServiceEvent::Failed { problem } => {
                    return Err(ClientError::Refused(Box::new(problem)));
                }
            }
        }
        Err(ClientError::Lost("it ended before its result".into()))
    }

    /// The state of a service; `None` when the node has none of this name.
    pub async fn find_service(&self, id: &ServiceId) -> Result<Option<ServiceStatus>, ClientError> {
        let view = self.find(&object_path("services", id)).await?;
        view.map(service_status).transpose()
    }

    /// The states of all services.
    pub async fn services(&self) -> Result<Vec<ServiceStatus>, ClientError> {
        let views: Vec<ServiceView> = self.get("/v1/services").await?;
        views.into_iter().map(service_status).collect()
    }

    /// Stops and forgets a service.
    pub async fn remove_service(&self, id: &ServiceId) -> Result<(), ClientError> {
        self.remove(&object_path("services", id)).await
    }

    /// Reads the last `lines` of output of each instance and, when following, what comes, until
    /// `on_line` returns false or the node goes.
    pub async fn logs(
        &self,
        id: &ServiceId,
        lines: usize,
        follow: bool,
        on_line: &mut (dyn FnMut(LogLine) -> bool + Send),
    ) -> Result<(), ClientError> {
        let path = object_path("services", id);
        let path = format!("{path}/logs?lines={lines}&follow={follow}");
        let mut answer = self.open(Method::GET, &path, NO_BODY).await?;
        while let Some(line) = answer.next::<LogLine>().await? {
            if !on_line(line) {
                break;
            }
        }
        Ok(())
    }

    /// Publishes a route; returns once a table that holds it serves.
    pub async fn apply_route(&self, route: &RouteSpec) -> Result<RouteStatus, ClientError> {
        let path = object_path("routes", &parse_name(&route.name)?);
        let view: RouteView = self.put(&path, &RouteBody::from(route)).await?;
        route_status(view)
    }

    /// The route of this name.
    pub async fn find_route(&self, name: &str) -> Result<Option<RouteStatus>, ClientError> {
        let path = object_path("routes", &parse_name(name)?);
        let view: Option<RouteView> = self.find(&path).await?;
        view.map(route_status).transpose()
    }

    /// Withdraws a route.
    pub async fn remove_route(&self, name: &str) -> Result<(), ClientError> {
        self.remove(&object_path("routes", &parse_name(name)?))
            .await
    }

    /// Request counts of a route in the last `minutes`.
    pub async fn traffic(&self, name: &str, minutes: u32) -> Result<TrafficView, ClientError> {
        let path = object_path("routes", &parse_name(name)?);
        self.get(&format!("{path}/traffic?minutes={minutes}")).await
    }

    /// Makes a consumer known.
    pub async fn apply_consumer(&self, consumer: &ConsumerSpec) -> Result<(), ClientError> {
        let path = object_path("consumers", &parse_name(&consumer.name)?);
        let _: ConsumerView = self.put(&path, &ConsumerBody {}).await?;
        Ok(())
    }

    /// The consumer of this name.
    pub async fn find_consumer(&self, name: &str) -> Result<Option<ConsumerSpec>, ClientError> {
        let path = object_path("consumers", &parse_name(name)?);
        let view: Option<ConsumerView> = self.find(&path).await?;
        Ok(view.map(|ConsumerView { name }| ConsumerSpec { name }))
    }

    /// Forgets a consumer.
    pub async fn remove_consumer(&self, name: &str) -> Result<(), ClientError> {
        let path = object_path("consumers", &parse_name(name)?);
        self.remove(&path).await
    }

    /// Makes a key valid. The key's text leaves this process in the request only.
    pub async fn apply_api_key(
        &self,
        consumer: &str,
        key: &Secret<String>,
        enabled: bool,
    ) -> Result<ApiKeyView, ClientError> {
        let Some((id, _)) = ApiKeySpec::split(key.expose()) else {
            let text = "the key has not the form of an API key";
            return Err(ClientError::Protocol(text.into()));
        };
        let body = ApiKeyBody {
            consumer: consumer.into(),
            key: key.expose().clone(),
            enabled,
        };
        self.put(&key_path(id), &body).await
    }

    /// The key of this public id.
    pub async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyView>, ClientError> {
        self.find(&key_path(id)).await
    }

    /// Makes a key invalid for good.
    pub async fn remove_api_key(&self, id: &str) -> Result<(), ClientError> {
        self.remove(&key_path(id)).await
    }

    /// The spec published last, without hashes.
    pub async fn gateway(&self) -> Result<GatewayView, ClientError> {
        self.get("/v1/gateway").await
    }

    /// Changes of the node's objects below number `before`, newest first.
    pub async fn audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditView>, ClientError> {
        let before = before.map_or_else(String::new, |seq| format!("&before={seq}"));
        self.get(&format!("/v1/audit?limit={limit}{before}")).await
    }

    /// The node's metrics in Prometheus' text format.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let body = self.send(Method::GET, "/metrics", NO_BODY).await?;
        String::from_utf8(body.to_vec())
            .map_err(|_| ClientError::Protocol("the metrics are not text".into()))
    }
}

/// The body of calls that have none.
const NO_BODY: Option<&()> = None;

fn service_status(view: ServiceView) -> Result<ServiceStatus, ClientError> {
    ServiceStatus::try_from(view).map_err(|error| ClientError::Protocol(error.to_string()))
}

fn route_status(view: RouteView) -> Result<RouteStatus, ClientError> {
    RouteStatus::try_from(view).map_err(|error| ClientError::Protocol(error.to_string()))
}

fn parse_name(name: &str) -> Result<ServiceId, ClientError> {
    ServiceId::parse(name)
        .ok_or_else(|| ClientError::Protocol(format!("`{name}` is not `project/stack/name`")))
}

fn object_path(kind: &str, id: &ServiceId) -> String {
    let mut path = format!("/v1/{kind}");
    for segment in [&id.project, &id.stack, &id.name] {
        path.push('/');
        encode_segment(&mut path, segment);
    }
    path
}

fn key_path(id: &str) -> String {
    let mut path = "/v1/api-keys/".to_owned();
    encode_segment(&mut path, id);
    path
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
fn encode_segment(path: &mut String, segment: &str) {
    use std::fmt::Write as _;
    for byte in segment.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain {
            path.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
}
