//! `lockgate:image:Pin`.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CheckFailure, CreateRequest, CreateResponse, ProviderError, UpdateRequest,
};
use lockgate_image::OsArch;
use lockgate_model::{ImageReference, PropertyMap, Value};

use super::images_failed;
use crate::bag;
use crate::check::failure;
use crate::images::Images;
use crate::package::Kind;

/// The resource type.
pub(super) struct Pin {
    pub(super) images: Arc<dyn Images>,
    pub(super) os_arch: OsArch,
}

impl Pin {
    async fn outputs(
        &self,
        inputs: &PropertyMap,
        mut outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        // Only a preview comes here with an image that is not known yet.
        let Some(text) = bag::text(inputs, "image") else {
            return Ok(outputs);
        };
        let image = ImageReference::parse(text)
            .map_err(|error| ProviderError::failed(error.to_string()))?;
        let digest = match image.digest {
            Some(digest) => digest,
            None => {
                let resolved = self.images.resolve(&image, &self.os_arch).await;
                resolved.map_err(images_failed)?
            }
        };
        outputs.insert("digest".into(), digest.to_string().into());
        outputs.insert("ref".into(), image.with_digest(digest).to_string().into());
        if let Some(tag) = image.tag {
            outputs.insert("tag".into(), tag.into());
        }
        Ok(outputs)
    }
}

#[async_trait]
impl Kind for Pin {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        let image = inputs.get("image").and_then(Value::as_str);
        match image.map(ImageReference::parse) {
            Some(Err(error)) => vec![failure("image", error.to_string())],
            _ => Vec::new(),
        }
    }

    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let outputs = self.outputs(&req.inputs, req.inputs.clone()).await?;
        let id = bag::text(&outputs, "ref").unwrap_or_default().to_owned();
        Ok(CreateResponse { id, outputs })
    }

    async fn foretell_create(
        &self,
        _ctx: &CallContext,
        req: &CreateRequest,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(&req.inputs, outputs).await
    }

    async fn update(
        &self,
        _ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(&req.inputs, req.inputs.clone()).await
    }

    async fn foretell_update(
        &self,
        _ctx: &CallContext,
        req: &UpdateRequest,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(&req.inputs, outputs).await
    }
}
