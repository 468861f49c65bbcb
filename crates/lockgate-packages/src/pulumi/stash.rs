//! `Stash`: the first value that it was given, whatever the program says later.

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CreateRequest, CreateResponse, ProviderError, UpdateRequest,
};
use lockgate_model::{PropertyMap, Value};

use crate::package::Kind;

pub(super) struct Stash;

/// The input as the program has it now, beside the value that is kept.
fn outputs(inputs: &PropertyMap, kept: Option<&Value>) -> PropertyMap {
    let mut outputs = inputs.clone();
    let first = kept.or_else(|| inputs.get("input"));
    outputs.insert("output".to_owned(), first.cloned().unwrap_or_default());
    outputs
}

#[async_trait]
impl Kind for Stash {
    async fn foretell(
        &self,
        _ctx: &CallContext,
        inputs: &PropertyMap,
        _outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(outputs(inputs, None))
    }

    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        Ok(CreateResponse {
            id: ctx.urn.name().to_owned(),
            outputs: outputs(&req.inputs, None),
        })
    }

    async fn foretell_update(
        &self,
        _ctx: &CallContext,
        req: &UpdateRequest,
        _outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(outputs(&req.inputs, req.old_outputs.get("output")))
    }

    async fn update(
        &self,
        _ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(outputs(&req.inputs, req.old_outputs.get("output")))
    }
}
