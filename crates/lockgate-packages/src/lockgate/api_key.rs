//! `lockgate:gateway:ApiKey`.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::Secret;
use lockgate_engine::provider::{
    CallContext, CheckFailure, CreateRequest, CreateResponse, DeleteRequest, ProviderError,
    ReadRequest, ReadResponse, UpdateRequest,
};
use lockgate_model::gateway::ApiKeySpec;
use lockgate_model::{Digest, PropertyMap, Rng, Value};

use super::{identity, node_failed, qualified};
use crate::bag;
use crate::check::failure;
use crate::node::{ApiKeyRequest, Node};
use crate::package::Kind;

/// The resource type.
pub(super) struct ApiKey {
    pub(super) node: Arc<dyn Node>,
    pub(super) rng: Arc<dyn Rng>,
}

impl ApiKey {
    async fn apply(
        &self,
        ctx: &CallContext,
        inputs: PropertyMap,
        key: String,
    ) -> Result<PropertyMap, ProviderError> {
        let consumer = bag::text(&inputs, "consumer").unwrap_or_default();
        let request = ApiKeyRequest {
            name: identity(&ctx.urn).to_string(),
            consumer: qualified(&ctx.urn, consumer),
            key: Secret::new(key.clone()),
            enabled: bag::boolean(&inputs, "enabled").unwrap_or(true),
        };
        let applied = self.node.apply_api_key(request).await;
        applied.map_err(node_failed)?;
        let mut outputs = inputs;
        outputs.insert("key".into(), Value::from(key).into_secret());
        Ok(outputs)
    }
}

/// The public part of a key. It follows from the create call, so that a create whose answer was
/// lost and that is tried again replaces its own key and leaves no second valid one behind.
fn key_id(ctx: &CallContext, req: &CreateRequest) -> String {
    // A replacement must not take the id of what it replaces, even if two creates of one
    // resource ever came with one idempotency key.
    let rotate = req.inputs.get("rotate").map(Value::without_secrets);
    let consumer = bag::text(&req.inputs, "consumer").unwrap_or_default();
    let text = format!(
        "{}\0{}\0{consumer}\0{rotate:?}",
        ctx.urn, req.idempotency_key
    );
    Digest::of(text.as_bytes()).hex()[..16].to_owned()
}

#[async_trait]
impl Kind for ApiKey {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        match bag::text(inputs, "consumer") {
            Some("") => vec![failure("consumer", "must not be empty")],
            _ => Vec::new(),
        }
    }

    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let id = key_id(ctx, &req);
        let mut secret = [0; 32];
        self.rng.fill(&mut secret);
        let key = format!("{}{id}_{}", ApiKeySpec::PREFIX, hex::encode(secret));
        let outputs = self.apply(ctx, req.inputs, key).await?;
        Ok(CreateResponse { id, outputs })
    }

    async fn update(
        &self,
        ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        let key = bag::text(&req.old_outputs, "key").map(str::to_owned);
        let key = key.ok_or_else(|| ProviderError::Failed {
            message: "the state does not hold the key, so it cannot be changed in place".into(),
            hints: vec!["change `rotate` to make a new key".into()],
        })?;
        self.apply(ctx, req.inputs, key).await
    }

    async fn foretell_update(
        &self,
        _ctx: &CallContext,
        req: &UpdateRequest,
        mut outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        if let Some(key) = req.old_outputs.get("key") {
            outputs.insert("key".into(), key.clone());
        }
        Ok(outputs)
    }

    async fn delete(&self, _ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        self.node.remove_api_key(&req.id).await.map_err(node_failed)
    }

    async fn read(
        &self,
        _ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        if req.outputs.is_empty() {
            return Err(ProviderError::Failed {
                message: "an API key cannot be imported: the node keeps only a hash of it".into(),
                hints: vec!["remove the import to make a new key".into()],
            });
        }
        let Some(status) = self.node.find_api_key(&req.id).await.map_err(node_failed)? else {
            return Ok(None);
        };
        let (mut inputs, mut outputs) = (req.inputs, req.outputs);
        for bag in [&mut inputs, &mut outputs] {
            bag.insert("enabled".into(), Value::Bool(status.enabled));
        }
        Ok(Some(ReadResponse {
            id: req.id,
            inputs: Some(inputs),
            outputs,
        }))
    }
}
