//! The node as packages see it: the API's client, connected (or a node started) at first use, so
//! that programs without services need none.

use async_trait::async_trait;
use lockgate_api::wire::{TlsBody, VendorView};
use lockgate_api::{Client, ClientError};
use lockgate_model::ServiceId;
use lockgate_model::ai::{ModelSpec, VendorSpec};
use lockgate_model::gateway::{ConsumerSpec, RouteSpec};
use lockgate_model::service::{ServiceSpec, ServiceStatus};
use lockgate_packages::node::{
    ApiKeyRequest, ApiKeyStatus, Node, NodeError, RouteStatus, VendorStatus,
};
use tokio::sync::OnceCell;

use super::connect;
use crate::printer::Printer;
use crate::settings::Environment;

/// Connects when first asked.
pub(crate) struct LazyNode {
    environment: Environment,
    printer: Printer,
    client: OnceCell<Client>,
}

impl LazyNode {
    pub(crate) fn new(environment: Environment, printer: Printer) -> Self {
        Self {
            environment,
            printer,
            client: OnceCell::new(),
        }
    }

    async fn client(&self) -> Result<&Client, NodeError> {
        self.client
            .get_or_try_init(|| async {
                connect::find_or_start(&self.environment, &|line| self.printer.say(line))
                    .await
                    .map_err(|diagnostic| NodeError::Refused {
                        message: diagnostic.message,
                        hints: diagnostic.hints,
                        causes: diagnostic.causes,
                    })
            })
            .await
    }
}

fn node_error(error: ClientError) -> NodeError {
    match error {
        ClientError::Refused(problem) => NodeError::Refused {
            message: problem.detail.clone(),
            hints: problem.hints.clone(),
            causes: problem.causes.clone(),
        },
        ClientError::Unreachable { target, source } => {
            NodeError::Unreachable(format!("{target}: {source}"))
        }
        ClientError::Lost(text) | ClientError::Protocol(text) => NodeError::Lost(text),
    }
}

#[async_trait]
impl Node for LazyNode {
    async fn apply_service(
        &self,
        spec: ServiceSpec,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ServiceStatus, NodeError> {
        self.client()
            .await?
            .apply_service(&spec, progress)
            .await
            .map_err(node_error)
    }

    async fn find_service(&self, id: &ServiceId) -> Result<Option<ServiceStatus>, NodeError> {
        self.client()
            .await?
            .find_service(id)
            .await
            .map_err(node_error)
    }

    async fn remove_service(&self, id: &ServiceId) -> Result<(), NodeError> {
        self.client()
            .await?
            .remove_service(id)
            .await
            .map_err(node_error)
    }

    async fn apply_route(&self, route: RouteSpec) -> Result<RouteStatus, NodeError> {
        let status = self
            .client()
            .await?
            .apply_route(&route)
            .await
            .map_err(node_error)?;
        Ok(RouteStatus {
            spec: status.spec,
            url: status.url,
        })
    }

    async fn find_route(&self, name: &str) -> Result<Option<RouteStatus>, NodeError> {
        let found = self
            .client()
            .await?
            .find_route(name)
            .await
            .map_err(node_error)?;
        Ok(found.map(|status| RouteStatus {
            spec: status.spec,
            url: status.url,
        }))
    }

    async fn remove_route(&self, name: &str) -> Result<(), NodeError> {
        self.client()
            .await?
            .remove_route(name)
            .await
            .map_err(node_error)
    }

    async fn apply_consumer(&self, consumer: ConsumerSpec) -> Result<(), NodeError> {
        self.client()
            .await?
            .apply_consumer(&consumer)
            .await
            .map_err(node_error)
    }

    async fn find_consumer(&self, name: &str) -> Result<Option<ConsumerSpec>, NodeError> {
        self.client()
            .await?
            .find_consumer(name)
            .await
            .map_err(node_error)
    }

    async fn remove_consumer(&self, name: &str) -> Result<(), NodeError> {
        self.client()
            .await?
            .remove_consumer(name)
            .await
            .map_err(node_error)
    }

    async fn apply_api_key(&self, request: ApiKeyRequest) -> Result<ApiKeyStatus, NodeError> {
        let client = self.client().await?;
        let view = client
            .apply_api_key(&request.consumer, &request.key, request.enabled)
            .await
            .map_err(node_error)?;
        Ok(ApiKeyStatus {
            id: view.id,
            consumer: view.consumer,
            enabled: view.enabled,
        })
    }

    async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyStatus>, NodeError> {
        let found = self
            .client()
            .await?
            .find_api_key(id)
            .await
            .map_err(node_error)?;
        Ok(found.map(|view| ApiKeyStatus {
            id: view.id,
            consumer: view.consumer,
            enabled: view.enabled,
        }))
    }

    async fn remove_api_key(&self, id: &str) -> Result<(), NodeError> {
        self.client()
            .await?
            .remove_api_key(id)
            .await
            .map_err(node_error)
    }

    async fn apply_vendor(&self, vendor: VendorSpec) -> Result<(), NodeError> {
        let applied = self.client().await?.apply_vendor(&vendor).await;
        applied.map(drop).map_err(node_error)
    }

    async fn find_vendor(&self, name: &str) -> Result<Option<VendorStatus>, NodeError> {
        let found = self.client().await?.find_vendor(name).await;
        let status = |view: VendorView| {
            let tls = TlsBody::into_model(view.tls);
            Ok(VendorStatus {
                tls: tls.map_err(|error| NodeError::Lost(error.to_string()))?,
                base_url: view.base_url,
                has_key: view.has_key,
                prices: view.prices,
            })
        };
        found.map_err(node_error)?.map(status).transpose()
    }

    async fn remove_vendor(&self, name: &str) -> Result<(), NodeError> {
        let removed = self.client().await?.remove_vendor(name).await;
        removed.map_err(node_error)
    }

    async fn apply_model(&self, model: ModelSpec) -> Result<(), NodeError> {
        let applied = self.client().await?.apply_model(&model).await;
        applied.map_err(node_error)
    }

    async fn find_model(&self, name: &str) -> Result<Option<ModelSpec>, NodeError> {
        let found = self.client().await?.find_model(name).await;
        found.map_err(node_error)
    }

    async fn remove_model(&self, name: &str) -> Result<(), NodeError> {
        let removed = self.client().await?.remove_model(name).await;
        removed.map_err(node_error)
    }

    async fn gateway_url(&self) -> Result<String, NodeError> {
        let status = self.client().await?.status().await.map_err(node_error)?;
        Ok(status.gateway_url)
    }
}
