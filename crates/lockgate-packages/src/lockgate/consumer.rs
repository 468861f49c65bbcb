//! `lockgate:gateway:Consumer`.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, DeleteRequest, ProviderError, ReadRequest, ReadResponse,
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

#[async_trait]
impl Kind for Consumer {
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

    async fn foretell(
        &self,
        ctx: &CallContext,
        _inputs: &PropertyMap,
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
