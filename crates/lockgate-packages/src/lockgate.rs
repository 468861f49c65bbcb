//! The `lockgate` package: images, services and the gateway as resources.
//!
//! Nothing here asks the node in a preview or when nothing changed.

mod api_key;
mod consumer;
mod reader;
mod route;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_diag::Severity;
use lockgate_engine::event::EngineEvent;
use lockgate_engine::provider::{CallContext, ProviderError};
use lockgate_model::{Rng, ServiceId, Urn};

use crate::node::{Node, NodeError};
use crate::package::{Kind, Package};
use crate::schema;

/// The package over a node.
pub(crate) fn package(node: &Arc<dyn Node>, rng: &Arc<dyn Rng>) -> Package {
    let node = || Arc::clone(node);
    let api_key = api_key::ApiKey {
        node: node(),
        rng: Arc::clone(rng),
    };
    let kinds: [(&'static str, Box<dyn Kind>); 4] = [
        ("lockgate:gateway:ApiKey", Box::new(api_key)),
        (
            "lockgate:gateway:Consumer",
            Box::new(consumer::Consumer(node())),
        ),
        ("lockgate:gateway:Route", Box::new(route::Route(node()))),
        (
            "lockgate:service:Service",
            Box::new(service::Service(node())),
        ),
    ];
    Package {
        schema: Arc::clone(&schema::LOCKGATE),
        kinds: kinds.into(),
        functions: BTreeMap::new(),
    }
}

/// Who a resource is on the node: project, stack and logical name.
fn identity(urn: &Urn) -> ServiceId {
    ServiceId {
        project: urn.project().to_owned(),
        stack: urn.stack().to_owned(),
        name: urn.name().to_owned(),
    }
}

/// A name as the node knows it: a short one belongs to the stack of `urn`.
fn qualified(urn: &Urn, name: &str) -> String {
    if name.contains('/') {
        return name.to_owned();
    }
    format!("{}/{}/{name}", urn.project(), urn.stack())
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

fn progress(ctx: &CallContext, text: String) {
    ctx.events.emit(EngineEvent::Message {
        severity: Severity::Info,
        urn: Some(ctx.urn.clone()),
        text,
        ephemeral: true,
    });
}
