//! `lockgate:image:Push`, and what pushes have in common with those of a build.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{CallContext, CheckFailure, ProviderError};
use lockgate_image::OsArch;
use lockgate_model::image::LOCAL_REGISTRY;
use lockgate_model::{Digest, ImageReference, PropertyMap};

use super::{images_failed, pinned, progress, stored};
use crate::bag;
use crate::check::failure;
use crate::images::Images;
use crate::package::Kind;
use crate::path::index;

/// The resource type. A delete only forgets: what runs elsewhere may still pull the image.
pub(super) struct Push {
    pub(super) images: Arc<dyn Images>,
    pub(super) os_arch: OsArch,
}

impl Push {
    /// Outside previews the image is also pushed. What is not known yet changes nothing.
    async fn outputs(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
        mut outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let (Some(image), Some(to)) = (bag::text(inputs, "image"), bag::text(inputs, "to")) else {
            return Ok(outputs);
        };
        let image = pinned(image).map_err(ProviderError::failed)?;
        let to = target(to).map_err(ProviderError::failed)?;
        let digest = stored(self.images.as_ref(), &image, &self.os_arch).await?;
        if !ctx.preview {
            push(ctx, self.images.as_ref(), &to, inputs, digest).await?;
        }
        outputs.insert("digest".into(), digest.to_string().into());
        outputs.insert("ref".into(), to.with_digest(digest).to_string().into());
        Ok(outputs)
    }
}

/// Pushes under each of `tags` of the inputs; by the bare digest without any.
pub(super) async fn push(
    ctx: &CallContext,
    images: &dyn Images,
    to: &ImageReference,
    inputs: &PropertyMap,
    digest: Digest,
) -> Result<(), ProviderError> {
    let tags = bag::texts(inputs, "tags");
    let targets: Vec<ImageReference> = if tags.is_empty() {
        vec![to.with_digest(digest)]
    } else {
        let tagged = |tag| ImageReference {
            tag: Some(tag),
            ..to.clone()
        };
        tags.into_iter().map(tagged).collect()
    };
    for target in targets {
        progress(ctx, format!("push {target}"));
        tokio::select! {
            pushed = images.push(&digest, &target) => pushed.map_err(images_failed)?,
            () = ctx.cancel.cancelled() => return Err(ProviderError::Cancelled),
        }
    }
    Ok(())
}

/// A text that names its registry, as no default is meant where something is written.
pub(super) fn check_host(text: &str, parsed: &ImageReference) -> Result<(), String> {
    if text.split('/').next() == Some(parsed.registry.as_str()) {
        return Ok(());
    }
    Err(format!(
        "`{text}` does not start with a host, expected for example `registry.example.org/team`"
    ))
}

/// What is wrong with `tags`.
pub(super) fn check_tags(inputs: &PropertyMap) -> Vec<CheckFailure> {
    let mut failures = Vec::new();
    for (i, tag) in bag::list(inputs, "tags").iter().enumerate() {
        let Some(tag) = tag.as_str() else { continue };
        let parsed = ImageReference::parse(&format!("{LOCAL_REGISTRY}/x:{tag}"));
        if !parsed.is_ok_and(|image| image.digest.is_none()) {
            let reason = format!("`{tag}` is no tag, expected for example `1.4.0`");
            failures.push(failure(index("tags", i), reason));
        }
    }
    failures
}

/// Registry and repository to push to.
fn target(to: &str) -> Result<ImageReference, String> {
    let parsed = ImageReference::parse(to).map_err(|error| error.to_string())?;
    check_host(to, &parsed)?;
    if parsed.is_local() {
        return Err(format!("`{to}` is in the local store, expected a registry"));
    }
    if parsed.digest.is_some() {
        return Err(format!("`{to}` has a digest, but that comes from `image`"));
    }
    if parsed.tag.is_some() {
        return Err(format!("`{to}` has a tag, which belongs to `tags`"));
    }
    Ok(parsed)
}

#[async_trait]
impl Kind for Push {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        let mut failures = Vec::new();
        if let Some(Err(reason)) = bag::text(inputs, "image").map(pinned) {
            failures.push(failure("image", reason));
        }
        if let Some(Err(reason)) = bag::text(inputs, "to").map(target) {
            failures.push(failure("to", reason));
        }
        failures.extend(check_tags(inputs));
        failures
    }

    async fn apply(
        &self,
        ctx: &CallContext,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(ctx, &inputs, inputs.clone()).await
    }

    fn id(&self, _ctx: &CallContext, outputs: &PropertyMap) -> String {
        bag::text(outputs, "to").unwrap_or_default().to_owned()
    }

    async fn foretell(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(ctx, inputs, outputs).await
    }
}
