//! `lockgate:ai:Model`.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CheckFailure, DeleteRequest, ProviderError, ReadRequest, ReadResponse,
};
use lockgate_model::ai::{LaneSpec, ModelSpec};
use lockgate_model::{PropertyMap, Urn, Value};

use crate::bag;
use crate::lockgate::reader::Reader;
use crate::lockgate::{accept, identity, node_failed, qualified};
use crate::node::Node;
use crate::package::Kind;
use crate::path::index;

/// Shares stay far from overflow when they are added up.
const WEIGHT_MAX: u64 = 1_000_000;

/// The resource type.
pub(in crate::lockgate) struct Model(pub(in crate::lockgate) Arc<dyn Node>);

fn read_spec(urn: &Urn, inputs: &PropertyMap) -> (ModelSpec, Vec<CheckFailure>) {
    let mut r = Reader::new(inputs);
    let alias = bag::text(inputs, "alias").unwrap_or(urn.name()).to_owned();
    if alias.is_empty() {
        r.fail("alias", "must not be empty");
    }
    let items = bag::list(inputs, "lanes");
    if items.is_empty() && !r.is_unknown("lanes") {
        r.fail("lanes", "expected at least one, found none");
    }
    let mut lanes = Vec::new();
    for (i, item) in items.iter().enumerate() {
        if let Value::Map(map) = item.unsecret() {
            lanes.push(r.at(map, index("lanes", i), |r| read_lane(r, urn)));
        }
    }
    let spec = ModelSpec {
        name: identity(urn).to_string(),
        alias,
        lanes,
    };
    (spec, r.failures)
}

fn read_lane(r: &mut Reader<'_>, urn: &Urn) -> LaneSpec {
    let weight = r.within("weight", 0, WEIGHT_MAX);
    let text = |name: &str| bag::text(r.bag(), name).unwrap_or_default();
    LaneSpec {
        vendor: qualified(urn, text("vendor")),
        vendor_model: text("model").to_owned(),
        weight: weight.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
    }
}

fn with_alias(urn: &Urn, mut outputs: PropertyMap) -> PropertyMap {
    let alias = outputs.entry("alias".into());
    alias.or_insert_with(|| urn.name().to_owned().into());
    outputs
}

#[async_trait]
impl Kind for Model {
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
        let outputs = with_alias(&ctx.urn, inputs);
        self.0.apply_model(spec).await.map_err(node_failed)?;
        Ok(outputs)
    }

    async fn foretell(
        &self,
        ctx: &CallContext,
        _inputs: &PropertyMap,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(with_alias(&ctx.urn, outputs))
    }

    async fn delete(&self, _ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        self.0.remove_model(&req.id).await.map_err(node_failed)
    }

    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let Some(found) = self.0.find_model(&req.id).await.map_err(node_failed)? else {
            return Ok(None);
        };
        let (mut inputs, mut outputs) = (req.inputs, req.outputs);
        let wanted = read_spec(&ctx.urn, &inputs).0;
        for bag in [&mut inputs, &mut outputs] {
            if wanted.alias != found.alias {
                bag.insert("alias".into(), found.alias.clone().into());
            }
            // What differs reads as missing, so that the next update states it again.
            if wanted.lanes != found.lanes {
                bag.remove("lanes");
            }
        }
        Ok(Some(ReadResponse {
            id: req.id,
            inputs: Some(inputs),
            outputs,
        }))
    }
}
