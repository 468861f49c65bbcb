//! `lockgate:ai:Vendor`.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::Secret;
use lockgate_engine::provider::{
    CallContext, CheckFailure, DeleteRequest, ProviderError, ReadRequest, ReadResponse,
};
use lockgate_model::ai::{BaseUrl, VendorSpec};
use lockgate_model::{PropertyMap, Urn};

use crate::bag;
use crate::check::failure;
use crate::lockgate::{identity, node_failed, refused};
use crate::node::Node;
use crate::package::Kind;

/// The resource type.
pub(in crate::lockgate) struct Vendor(pub(in crate::lockgate) Arc<dyn Node>);

fn read_spec(urn: &Urn, inputs: &PropertyMap) -> Result<VendorSpec, CheckFailure> {
    let url = bag::text(inputs, "baseUrl").unwrap_or_default();
    let base_url = BaseUrl::parse(url).map_err(|why| failure("baseUrl", why))?;
    Ok(VendorSpec {
        name: identity(urn).to_string(),
        base_url,
        key: bag::text(inputs, "key").map(|key| Secret::new(key.to_owned())),
        prices: bag::text(inputs, "prices").unwrap_or_default().to_owned(),
    })
}

#[async_trait]
impl Kind for Vendor {
    fn check(&self, ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        let mut failures = Vec::new();
        if bag::text(inputs, "baseUrl").is_some() {
            failures.extend(read_spec(&ctx.urn, inputs).err());
        }
        let sendable = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
        if bag::text(inputs, "key").is_some_and(|key| !sendable(key)) {
            failures.push(failure("key", "is not printable ASCII without spaces"));
        }
        failures
    }

    async fn apply(
        &self,
        ctx: &CallContext,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let spec = read_spec(&ctx.urn, &inputs).map_err(|f| refused(&f))?;
        self.0.apply_vendor(spec).await.map_err(node_failed)?;
        Ok(inputs)
    }

    async fn delete(&self, _ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        self.0.remove_vendor(&req.id).await.map_err(node_failed)
    }

    async fn read(
        &self,
        _ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let Some(found) = self.0.find_vendor(&req.id).await.map_err(node_failed)? else {
            return Ok(None);
        };
        let (mut inputs, mut outputs) = (req.inputs, req.outputs);
        for bag in [&mut inputs, &mut outputs] {
            let same = bag::text(bag, "baseUrl").is_some_and(|url| {
                BaseUrl::parse(url).is_ok_and(|url| url.to_string() == found.base_url)
            });
            if !same {
                bag.insert("baseUrl".into(), found.base_url.clone().into());
            }
            if bag::text(bag, "prices").unwrap_or_default() != found.prices {
                bag.insert("prices".into(), found.prices.clone().into());
            }
            // The node does not tell the key; that it has none is all that can be seen.
            if !found.has_key {
                bag.remove("key");
            }
        }
        Ok(Some(ReadResponse {
            id: req.id,
            inputs: Some(inputs),
            outputs,
        }))
    }
}
