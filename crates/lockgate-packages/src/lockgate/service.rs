//! `lockgate:service:Service`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::Secret;
use lockgate_engine::provider::{
    CallContext, CheckFailure, DeleteRequest, DiffChanges, DiffRequest, DiffResponse,
    ProviderError, ReadRequest, ReadResponse,
};
use lockgate_image::OsArch;
use lockgate_model::service::{
    HealthCheck, HealthProbe, Rollout, ServiceLimits, ServiceSpec, ServiceStatus,
};
use lockgate_model::{Digest, ImageReference, PropertyMap, ServiceId, Value};

use super::reader::Reader;
use super::{identity, node_failed, progress, refused, stored};
use crate::bag;
use crate::check::failure;
use crate::images::Images;
use crate::node::Node;
use crate::package::Kind;

/// Instances of one service; one node runs no more.
const REPLICAS_MAX: u64 = 100;

/// The resource type.
pub(super) struct Service {
    pub(super) node: Arc<dyn Node>,
    pub(super) images: Arc<dyn Images>,
    pub(super) os_arch: OsArch,
}

/// The spec that inputs ask for; `None` when the image is not known or wrong.
fn read_spec(id: ServiceId, inputs: &PropertyMap) -> (Option<ServiceSpec>, Vec<CheckFailure>) {
    let mut reader = Reader::new(inputs);
    let image = read_image(&mut reader);
    let (env, secret_env) = read_env(&mut reader);
    let health = read_health(&mut reader);
    let rollout = reader
        .inside("rollout", |r| Rollout {
            drain: r.duration("drain").unwrap_or_default(),
            stop_timeout: r.duration("stopTimeout").unwrap_or_default(),
        })
        .unwrap_or(Rollout {
            drain: Default::default(),
            stop_timeout: Default::default(),
        });
    let limits = reader.inside("limits", |r| ServiceLimits {
        memory_bytes: r.within("memoryBytes", 1 << 20, 1 << 50),
        processes: r.within("processes", 1, 1 << 22),
        open_files: r.within("openFiles", 16, 1 << 20),
    });
    let replicas = reader.within("replicas", 1, REPLICAS_MAX);
    let fixed_port = reader.within("port", 1, 65_535);
    let command = reader.has("command").then(|| bag::texts(inputs, "command"));
    if !reader.is_unknown("command") && command.as_ref().is_some_and(Vec::is_empty) {
        reader.fail("command", "must name a program, found an empty list");
    }
    let spec = image.map(|image| ServiceSpec {
        id,
        image,
        replicas: replicas.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        fixed_port: fixed_port.and_then(|n| u16::try_from(n).ok()),
        env,
        secret_env,
        command,
        health,
        limits: limits.unwrap_or_default(),
        rollout,
        read_only_root: bag::boolean(inputs, "readOnlyRoot").unwrap_or_default(),
    });
    (spec, reader.failures)
}

fn read_image(reader: &mut Reader<'_>) -> Option<ImageReference> {
    let text = bag::text(reader.bag(), "image")?;
    match ImageReference::parse(text) {
        Ok(image) if image.digest.is_some() => Some(image),
        Ok(image) => {
            let reason = format!(
                "`{image}` has no digest, expected for example the `ref` of a `lockgate:image:Gate`"
            );
            reader.fail("image", reason);
            None
        }
        Err(error) => {
            reader.fail("image", error.to_string());
            None
        }
    }
}

type Env = (BTreeMap<String, String>, BTreeMap<String, Secret<String>>);

/// Secret values go to the secret side, wherever the program wrote them.
fn read_env(reader: &mut Reader<'_>) -> Env {
    let (mut clear, mut secret) = Env::default();
    for bag_name in ["env", "secretEnv"] {
        // A map that is secret as a whole makes every value secret.
        let whole = matches!(reader.bag().get(bag_name), Some(Value::Secret(_)));
        for (name, value) in bag::map(reader.bag(), bag_name).into_iter().flatten() {
            if name.is_empty() || name.contains(['=', '\0']) {
                let reason = format!("`{name}` cannot name a variable");
                reader.fail_member(bag_name, name, reason);
            }
            if name == "PORT" {
                reader.fail_member(
                    bag_name,
                    name,
                    "`PORT` is set by the node, use `port` for a fixed one",
                );
            }
            let Some(text) = value.as_str().map(str::to_owned) else {
                continue;
            };
            if whole || matches!(value, Value::Secret(_)) {
                clear.remove(name);
                secret.insert(name.clone(), Secret::new(text));
            } else {
                clear.insert(name.clone(), text);
            }
        }
    }
    (clear, secret)
}

fn read_health(reader: &mut Reader<'_>) -> HealthCheck {
    let read = |r: &mut Reader<'_>| {
        let probe = match r.one_of(&["http", "tcp", "command"], true) {
            Some("http") => {
                let path = bag::text(r.bag(), "http").unwrap_or("/").to_owned();
                if !path.starts_with('/') {
                    r.fail(
                        "http",
                        format!("`{path}` is no path, expected a leading `/`"),
                    );
                }
                HealthProbe::Http { path }
            }
            Some("command") => HealthProbe::Command {
                argv: bag::texts(r.bag(), "command"),
            },
            _ => HealthProbe::Tcp,
        };
        HealthCheck {
            probe,
            interval: r.duration("interval").unwrap_or_default(),
            timeout: r.duration("timeout").unwrap_or_default(),
            fall: r
                .within("fall", 1, 100)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(1),
            start_timeout: r.duration("startTimeout").unwrap_or_default(),
        }
    };
    let empty = PropertyMap::new();
    match reader.inside("health", read) {
        Some(health) => health,
        None => read(&mut Reader::new(&empty)),
    }
}

fn digest_of(inputs: &PropertyMap) -> Option<Digest> {
    ImageReference::parse(bag::text(inputs, "image")?)
        .ok()?
        .digest
}

/// Adds what follows from the identity and the image alone.
fn foretell(ctx: &CallContext, inputs: &PropertyMap, mut outputs: PropertyMap) -> PropertyMap {
    let endpoint = Value::from(identity(&ctx.urn).endpoint());
    outputs.insert("endpoints".into(), Value::List(vec![endpoint.clone()]));
    outputs.insert("endpoint".into(), endpoint);
    let digest = digest_of(inputs).map_or(Value::Unknown, |d| d.to_string().into());
    outputs.insert("digest".into(), digest);
    outputs
}

fn outputs(ctx: &CallContext, inputs: PropertyMap, status: &ServiceStatus) -> PropertyMap {
    let mut outputs = foretell(ctx, &inputs.clone(), inputs);
    outputs.insert("digest".into(), status.digest.to_string().into());
    outputs.insert("status".into(), status.phase.as_str().into());
    outputs
}

#[async_trait]
impl Kind for Service {
    fn check(&self, ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        read_spec(identity(&ctx.urn), inputs).1
    }

    async fn diff(
        &self,
        _ctx: &CallContext,
        req: &DiffRequest,
        mut found: DiffResponse,
    ) -> Result<DiffResponse, ProviderError> {
        // What runs is a digest; the same one under another name is no change.
        let (old, new) = (digest_of(&req.old_inputs), digest_of(&req.inputs));
        if let Some(detailed) = found
            .detailed
            .as_mut()
            .filter(|_| old.is_some() && old == new)
        {
            detailed.remove("image");
            if detailed.is_empty() {
                found.changes = DiffChanges::None;
            }
        }
        found.stables = vec!["endpoint".into(), "endpoints".into()];
        Ok(found)
    }

    async fn apply(
        &self,
        ctx: &CallContext,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let (spec, failures) = read_spec(identity(&ctx.urn), &inputs);
        let (Some(spec), []) = (spec, failures.as_slice()) else {
            let first = failures.into_iter().next();
            let first = first.unwrap_or_else(|| failure("image", "is not known"));
            return Err(refused(&first));
        };
        // The node takes images from the local store only.
        stored(self.images.as_ref(), &spec.image, &self.os_arch).await?;
        let say = |text: String| progress(ctx, text);
        let status = tokio::select! {
            status = self.node.apply_service(spec, &say) => status.map_err(node_failed)?,
            () = ctx.cancel.cancelled() => {
                return Err(ProviderError::Unknown {
                    message: "interrupted while the node rolled out the service".into(),
                });
            }
        };
        Ok(outputs(ctx, inputs, &status))
    }

    async fn foretell(
        &self,
        ctx: &CallContext,
        inputs: &PropertyMap,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(foretell(ctx, inputs, outputs))
    }

    async fn delete(&self, _ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        match ServiceId::parse(&req.id) {
            Some(id) => self.node.remove_service(&id).await.map_err(node_failed),
            None => Ok(()),
        }
    }

    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let Some(id) = ServiceId::parse(&req.id) else {
            return Err(ProviderError::failed(
                "the import id must be `project/stack/name`",
            ));
        };
        let Some(status) = self.node.find_service(&id).await.map_err(node_failed)? else {
            return Ok(None);
        };
        let mut inputs = req.inputs;
        if digest_of(&inputs) != Some(status.digest) {
            // Something else serves: state it as the input it would have taken, so that the next
            // update brings the wanted version back.
            let image = bag::text(&inputs, "image").and_then(|t| ImageReference::parse(t).ok());
            let image = image.map_or_else(
                || {
                    format!(
                        "{}/{}@{}",
                        lockgate_model::image::LOCAL_REGISTRY,
                        id.name,
                        status.digest
                    )
                },
                |image| image.with_digest(status.digest).to_string(),
            );
            inputs.insert("image".into(), image.into());
        }
        Ok(Some(ReadResponse {
            id: req.id,
            outputs: outputs(ctx, inputs.clone(), &status),
            inputs: Some(inputs),
        }))
    }
}
