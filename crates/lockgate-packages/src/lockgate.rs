//! The `lockgate` package: images, services and the gateway as resources.
//!
//! Nothing here asks the node in a preview or when nothing changed.

mod ai;
mod api_key;
mod build;
mod consumer;
mod gate;
mod pin;
mod push;
mod reader;
mod route;
mod service;
mod tls;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lockgate_diag::Severity;
use lockgate_engine::event::EngineEvent;
use lockgate_engine::provider::{CallContext, CheckFailure, ProviderError};
use lockgate_image::OsArch;
use lockgate_model::{Clock, Digest, ImageReference, PropertyMap, Rng, Urn};

use crate::bag;
use crate::images::{Images, ImagesError};
use crate::node::{Node, NodeError};
use crate::package::{Kind, Package, identity};
use crate::pins::{PinLock, Pins};
use crate::schema;

/// What images are built for unless the program or the stack config says otherwise: never the
/// machine of who builds, or two machines would give two digests.
const OS_ARCH: &str = "linux/amd64";

/// What the package works with.
pub(crate) struct Hands {
    pub(crate) images: Arc<dyn Images>,
    pub(crate) lock: Arc<dyn PinLock>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) node: Arc<dyn Node>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) project_dir: PathBuf,
}

/// The package; `config` is the stack config of `lockgate:`.
pub(crate) fn package(hands: &Hands, config: &PropertyMap) -> Result<Package, ProviderError> {
    let os_arch =
        OsArch::parse(bag::text(config, "platform").unwrap_or(OS_ARCH)).map_err(|error| {
            ProviderError::failed(format!("stack config `lockgate:platform`: {error}"))
        })?;
    let node = || Arc::clone(&hands.node);
    let images = || Arc::clone(&hands.images);
    let api_key = api_key::ApiKey {
        node: node(),
        rng: Arc::clone(&hands.rng),
    };
    let build = build::Build {
        images: images(),
        project_dir: hands.project_dir.clone(),
        os_arch: os_arch.clone(),
    };
    let pin = pin::Pin {
        images: images(),
        pins: Pins::new(images(), Arc::clone(&hands.lock), Arc::clone(&hands.clock)),
        os_arch: os_arch.clone(),
    };
    let gate = gate::Gate {
        images: images(),
        os_arch: os_arch.clone(),
    };
    let push = push::Push {
        images: images(),
        os_arch: os_arch.clone(),
    };
    let service = service::Service {
        node: node(),
        images: images(),
        os_arch,
    };
    let kinds: [(&'static str, Box<dyn Kind>); 11] = [
        ("lockgate:ai:Model", Box::new(ai::Model(node()))),
        ("lockgate:ai:Route", Box::new(ai::Route(node()))),
        ("lockgate:ai:Vendor", Box::new(ai::Vendor(node()))),
        ("lockgate:gateway:ApiKey", Box::new(api_key)),
        (
            "lockgate:gateway:Consumer",
            Box::new(consumer::Consumer(node())),
        ),
        ("lockgate:gateway:Route", Box::new(route::Route(node()))),
        ("lockgate:image:Build", Box::new(build)),
        ("lockgate:image:Gate", Box::new(gate)),
        ("lockgate:image:Pin", Box::new(pin)),
        ("lockgate:image:Push", Box::new(push)),
        ("lockgate:service:Service", Box::new(service)),
    ];
    Ok(Package {
        schema: Arc::clone(&schema::LOCKGATE),
        kinds: kinds.into(),
        functions: BTreeMap::new(),
    })
}

/// A name as the node knows it: a short one belongs to the stack of `urn`.
fn qualified(urn: &Urn, name: &str) -> String {
    if name.contains('/') {
        return name.to_owned();
    }
    format!("{}/{}/{name}", urn.project(), urn.stack())
}

/// A failure of inputs that were not known yet when they were checked.
fn refused(failure: &CheckFailure) -> ProviderError {
    ProviderError::failed(format!("`{}` {}", failure.property, failure.reason))
}

/// The first of such failures is enough.
fn accept(failures: &[CheckFailure]) -> Result<(), ProviderError> {
    failures.first().map_or(Ok(()), |first| Err(refused(first)))
}

fn node_failed(error: NodeError) -> ProviderError {
    match error {
        NodeError::Refused {
            message,
            hints,
            causes,
        } => ProviderError::Failed {
            message: std::iter::once(message)
                .chain(causes)
                .collect::<Vec<_>>()
                .join("\n"),
            hints,
        },
        NodeError::Unreachable(_) => ProviderError::Failed {
            message: error.to_string(),
            hints: vec!["run `lockgate node status`".into()],
        },
        NodeError::Lost(_) => ProviderError::Unknown {
            message: error.to_string(),
        },
    }
}

fn images_failed(error: ImagesError) -> ProviderError {
    ProviderError::Failed {
        message: error.message,
        hints: error.hints,
    }
}

/// A reference that has a digest.
fn pinned(image: &str) -> Result<ImageReference, String> {
    let reference = ImageReference::parse(image).map_err(|error| error.to_string())?;
    if reference.digest.is_none() {
        return Err(format!(
            "`{reference}` has no digest, expected for example the `ref` of a `lockgate:image:Pin`"
        ));
    }
    Ok(reference)
}

/// The manifest of a pinned image in the local store; what is not there yet is brought there.
async fn stored(
    images: &dyn Images,
    image: &ImageReference,
    os_arch: &OsArch,
) -> Result<Digest, ProviderError> {
    match image.digest.filter(|_| image.is_local()) {
        Some(digest) => Ok(digest),
        None => images.fetch(image, os_arch).await.map_err(images_failed),
    }
}

fn progress(ctx: &CallContext, text: String) {
    say(ctx, Severity::Info, text, true);
}

/// A line that stays: what was decided, or what to think about.
fn notice(ctx: &CallContext, severity: Severity, text: String) {
    say(ctx, severity, text, false);
}

fn say(ctx: &CallContext, severity: Severity, text: String, ephemeral: bool) {
    ctx.events.emit(EngineEvent::Message {
        severity,
        urn: Some(ctx.urn.clone()),
        text,
        ephemeral,
    });
}
