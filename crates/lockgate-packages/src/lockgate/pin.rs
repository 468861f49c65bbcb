//! `lockgate:image:Pin`.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::Severity;
use lockgate_engine::provider::{
    CallContext, CheckFailure, DiffChanges, DiffKind, DiffRequest, DiffResponse, PropertyDiff,
    ProviderError,
};
use lockgate_image::OsArch;
use lockgate_model::{ImageReference, PropertyMap, Value};

use super::{images_failed, notice};
use crate::bag;
use crate::check::failure;
use crate::images::Images;
use crate::package::Kind;
use crate::pins::{PinRule, PinSpec, Pins};

/// The resource type.
pub(super) struct Pin {
    pub(super) images: Arc<dyn Images>,
    pub(super) pins: Pins,
    pub(super) os_arch: OsArch,
}

/// The rule of checked inputs.
fn rule(inputs: &PropertyMap) -> Result<PinRule, (&'static str, String)> {
    PinRule::new(
        bag::text(inputs, "rule").unwrap_or("digest"),
        bag::text(inputs, "range"),
        bag::text(inputs, "filter"),
        bag::text(inputs, "extract"),
    )?
    .with_min_age(bag::text(inputs, "minAge"))
}

/// What is to be pinned; `None` while an input is not known.
fn spec(inputs: &PropertyMap) -> Result<Option<PinSpec>, ProviderError> {
    let Some(text) = bag::text(inputs, "image") else {
        return Ok(None);
    };
    if inputs.values().any(Value::contains_unknown) {
        return Ok(None);
    }
    let image =
        ImageReference::parse(text).map_err(|error| ProviderError::failed(error.to_string()))?;
    let rule = rule(inputs)
        .map_err(|(property, reason)| ProviderError::failed(format!("`{property}` {reason}")))?;
    Ok(Some(PinSpec { image, rule }))
}

impl Pin {
    /// `keep`: the pin is recorded and the image is brought here, so that it can run.
    async fn outputs(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
        mut outputs: PropertyMap,
        keep: bool,
    ) -> Result<PropertyMap, ProviderError> {
        let Some(spec) = spec(inputs)? else {
            return Ok(outputs);
        };
        let image = &spec.image;
        let (digest, tag) = match image.digest {
            Some(digest) => (digest, image.tag.clone()),
            None => {
                let resolved = self.pins.resolve(&spec, &self.os_arch).await;
                let pinned = resolved.map_err(images_failed)?;
                for young in &pinned.young {
                    let taken = pinned.locked.tag.as_deref().unwrap_or_default();
                    let text = format!("{young}: `{taken}` is taken");
                    notice(ctx, Severity::Info, text);
                }
                if keep && !image.is_local() {
                    let recorded = self.pins.record(&spec, &pinned.locked);
                    recorded.map_err(images_failed)?;
                }
                (pinned.manifest, pinned.locked.tag)
            }
        };
        let pinned = image.with_digest(digest);
        if keep && !image.is_local() {
            let fetched = self.images.fetch(&pinned, &self.os_arch).await;
            fetched.map_err(images_failed)?;
        }
        outputs.insert("digest".into(), digest.to_string().into());
        outputs.insert("ref".into(), pinned.to_string().into());
        if let Some(tag) = tag {
            outputs.insert("tag".into(), tag.into());
        }
        Ok(outputs)
    }
}

#[async_trait]
impl Kind for Pin {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        let image = inputs.get("image").and_then(Value::as_str);
        let chosen = bag::text(inputs, "rule").is_some_and(|rule| rule != "digest");
        let mut failures = Vec::new();
        match image.map(ImageReference::parse) {
            Some(Err(error)) => failures.push(failure("image", error.to_string())),
            Some(Ok(image)) if chosen && (image.tag.is_some() || image.digest.is_some()) => {
                let reason = "names a tag or a digest, but the rule chooses the tag";
                failures.push(failure("image", reason));
            }
            _ => {}
        }
        if let Err((property, reason)) = rule(inputs) {
            failures.push(failure(property, reason));
        }
        let parsed = image.and_then(|text| ImageReference::parse(text).ok());
        if inputs.contains_key("minAge")
            && parsed.is_some_and(|image| image.digest.is_some() || image.is_local())
        {
            let reason = "has no meaning for a digest or an image of the local store";
            failures.push(failure("minAge", reason));
        }
        failures
    }

    /// Inputs that did not change can still have another digest: the lock was updated.
    async fn diff(
        &self,
        _ctx: &CallContext,
        req: &DiffRequest,
        mut found: DiffResponse,
    ) -> Result<DiffResponse, ProviderError> {
        let Some(spec) = spec(&req.inputs)? else {
            return Ok(found);
        };
        if found.changes == DiffChanges::Some || spec.image.digest.is_some() {
            return Ok(found);
        }
        let locked = self.pins.locked(&spec).map_err(images_failed)?;
        let Some(locked) = locked else {
            return Ok(found);
        };
        let now = locked.platforms.get(&self.os_arch.to_string());
        let now = now.map(ToString::to_string);
        if now.as_deref() != bag::text(&req.old_outputs, "digest") {
            let difference = PropertyDiff {
                kind: DiffKind::Update,
                input: true,
            };
            let detailed = found.detailed.get_or_insert_default();
            detailed.insert("image".into(), difference);
            found.changes = DiffChanges::Some;
        }
        Ok(found)
    }

    async fn apply(
        &self,
        ctx: &CallContext,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(ctx, &inputs, inputs.clone(), true).await
    }

    fn id(&self, _ctx: &CallContext, outputs: &PropertyMap) -> String {
        bag::text(outputs, "ref").unwrap_or_default().to_owned()
    }

    async fn foretell(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(ctx, inputs, outputs, false).await
    }
}
