//! `lockgate:ai:Route`: the OpenAI API for some models, under one prefix, to holders of API keys.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CheckFailure, DeleteRequest, ProviderError, ReadRequest, ReadResponse,
};
use lockgate_model::ai::AiPolicy;
use lockgate_model::gateway::{AuthPolicy, PathMatch, RouteMatch, RouteSpec, TimeoutPolicy};
use lockgate_model::{PropertyMap, Urn};

use crate::bag;
use crate::lockgate::reader::Reader;
use crate::lockgate::route::{read_hosts, read_rate_limit};
use crate::lockgate::{accept, identity, node_failed, qualified};
use crate::node::Node;
use crate::package::Kind;

/// Where SDKs of the OpenAI API put their key.
const HEADER: &str = "authorization";
/// The path by which the node states the route's URL; clients want what is before it.
const FIRST_PATH: &str = "/chat/completions";
/// Models may think for long before their first word.
const HEAD: Duration = Duration::from_secs(300);
/// Between two words they do not.
const IDLE: Duration = Duration::from_secs(120);

/// The resource type.
pub(in crate::lockgate) struct Route(pub(in crate::lockgate) Arc<dyn Node>);

fn read_spec(urn: &Urn, inputs: &PropertyMap) -> (RouteSpec, Vec<CheckFailure>) {
    let mut r = Reader::new(inputs);
    let prefix = bag::text(inputs, "prefix").unwrap_or_default();
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() && !prefix.starts_with('/') {
        let reason = format!("`{prefix}` is no path, expected a leading `/`");
        r.fail("prefix", reason);
    }
    for name in ["models", "consumers"] {
        if r.has(name) && !r.is_unknown(name) && bag::list(inputs, name).is_empty() {
            r.fail(name, "expected at least one, found none");
        }
    }
    let names = |name: &str| {
        let short = bag::texts(inputs, name);
        short.iter().map(|name| qualified(urn, name)).collect()
    };
    let exact = |path: &str| PathMatch::Exact(format!("{prefix}{path}"));
    let spec = RouteSpec {
        name: identity(urn).to_string(),
        matches: RouteMatch {
            hosts: read_hosts(&mut r),
            paths: vec![
                exact("/v1/chat/completions"),
                exact("/v1/embeddings"),
                PathMatch::Prefix(format!("{prefix}/v1/models")),
            ],
            ..RouteMatch::default()
        },
        backends: Vec::new(),
        strip_prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
        auth: AuthPolicy::ApiKey {
            header: HEADER.into(),
            consumers: names("consumers"),
        },
        rate_limit: r.inside("rateLimit", read_rate_limit),
        timeouts: TimeoutPolicy {
            head: r.duration("headTimeout").unwrap_or(HEAD),
            idle: r.duration("idleTimeout").unwrap_or(IDLE),
            ..TimeoutPolicy::default()
        },
        body_bytes_max: r.within("bodyBytesMax", 1, 1 << 30),
        ai: Some(AiPolicy {
            models: names("models"),
        }),
    };
    (spec, r.failures)
}

/// The base URL that SDKs want.
fn base(url: &str) -> String {
    url.strip_suffix(FIRST_PATH).unwrap_or(url).to_owned()
}

#[async_trait]
impl Kind for Route {
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
        let status = self.0.apply_route(spec).await.map_err(node_failed)?;
        let mut outputs = inputs;
        outputs.insert("url".into(), base(&status.url).into());
        Ok(outputs)
    }

    async fn delete(&self, _ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        self.0.remove_route(&req.id).await.map_err(node_failed)
    }

    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let Some(found) = self.0.find_route(&req.id).await.map_err(node_failed)? else {
            return Ok(None);
        };
        let (mut inputs, mut outputs) = (req.inputs, req.outputs);
        let wanted = read_spec(&ctx.urn, &inputs).0;
        for bag in [&mut inputs, &mut outputs] {
            // What differs reads as missing, so that the next update states it again.
            if wanted != found.spec {
                bag.remove("models");
            }
        }
        outputs.insert("url".into(), base(&found.url).into());
        Ok(Some(ReadResponse {
            id: req.id,
            inputs: Some(inputs),
            outputs,
        }))
    }
}
