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
use crate::lockgate::reader::Reader;
use crate::lockgate::tls::{INPUTS, read_tls};
use crate::lockgate::{accept, identity, node_failed, refused};
use crate::node::Node;
use crate::package::Kind;

/// The resource type.
pub(in crate::lockgate) struct Vendor(pub(in crate::lockgate) Arc<dyn Node>);

fn read_spec(urn: &Urn, inputs: &PropertyMap) -> (Option<VendorSpec>, Vec<CheckFailure>) {
    let mut r = Reader::new(inputs);
    let base_url = bag::text(inputs, "baseUrl").and_then(|url| {
        let parsed = BaseUrl::parse(url);
        parsed.map_err(|why| r.fail("baseUrl", why)).ok()
    });
    let spoken = base_url.as_ref().map(|url| url.origin.is_tls());
    let tls = read_tls(&mut r, spoken);
    let sendable = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
    let key = bag::text(inputs, "key");
    if key.is_some_and(|key| !sendable(key)) {
        r.fail("key", "is not printable ASCII without spaces");
    }
    let spec = base_url.map(|base_url| VendorSpec {
        name: identity(urn).to_string(),
        base_url,
        tls,
        key: key.map(|key| Secret::new(key.to_owned())),
        prices: bag::text(inputs, "prices").unwrap_or_default().to_owned(),
    });
    (spec, r.failures)
}

#[async_trait]
impl Kind for Vendor {
    fn check(&self, ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        read_spec(&ctx.urn, inputs).1
    }

    async fn apply(
        &self,
        ctx: &CallContext,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let (spec, failures) = read_spec(&ctx.urn, &inputs);
        accept(&failures)?;
        let spec = spec.ok_or_else(|| refused(&failure("baseUrl", "is not known")))?;
        self.0.apply_vendor(spec).await.map_err(node_failed)?;
        Ok(inputs)
    }

    async fn delete(&self, _ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        self.0.remove_vendor(&req.id).await.map_err(node_failed)
    }

    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let Some(found) = self.0.find_vendor(&req.id).await.map_err(node_failed)? else {
            return Ok(None);
        };
        let (mut inputs, mut outputs) = (req.inputs, req.outputs);
        let wanted = read_spec(&ctx.urn, &inputs).0.map(|spec| spec.tls);
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
            // What differs reads as missing, so that the next update states it again.
            if wanted.as_ref() != Some(&found.tls) {
                for name in INPUTS {
                    bag.remove(name);
                }
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
