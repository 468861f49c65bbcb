//! `lockgate:gateway:Consumer`.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CreateRequest, CreateResponse, DeleteRequest, ProviderError, ReadRequest,
    ReadResponse, UpdateRequest,
};
use lockgate_model::PropertyMap;
use lockgate_model::gateway::ConsumerSpec;

use super::{identity, node_failed};
use crate::node::Node;
use crate::package::Kind;

/// The resource type.
pub(super) struct Consumer(pub(super) Arc<dyn Node>);

fn with_name(ctx: &CallContext, mut outputs: PropertyMap) -> PropertyMap {
    outputs.insert("name".into(), identity(&ctx.urn).to_string().into());
    outputs
}

impl Consumer {
    async fn apply(
        &self,
        ctx: &CallContext,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let name = identity(&ctx.urn).to_string();
        let applied = self.0.apply_consumer(ConsumerSpec { name }).await;
        applied.map_err(node_failed)?;
        Ok(with_name(ctx, inputs))
    }
}

#[async_trait]
impl Kind for Consumer {
    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let outputs = self.apply(ctx, req.inputs).await?;
        Ok(CreateResponse {
            id: identity(&ctx.urn).to_string(),
            outputs,
        })
    }

    async fn foretell_create(
        &self,
        ctx: &CallContext,
        _req: &CreateRequest,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(with_name(ctx, outputs))
    }

    async fn update(
        &self,
        ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        self.apply(ctx, req.inputs).await
    }

    async fn foretell_update(
        &self,
        ctx: &CallContext,
        _req: &UpdateRequest,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(with_name(ctx, outputs))
    }

    async fn delete(&self, _ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        self.0.remove_consumer(&req.id).await.map_err(node_failed)
    }

    async fn read(
        &self,
        _ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let found = self.0.find_consumer(&req.id).await.map_err(node_failed)?;
        Ok(found.map(|consumer| {
            let mut outputs = req.inputs.clone();
            outputs.insert("name".into(), consumer.name.into());
            ReadResponse {
                id: req.id,
                inputs: Some(req.inputs),
                outputs,
            }
        }))
    }
}
