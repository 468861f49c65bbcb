//! Other stacks: `StackReference` and the functions that read the same.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::{Severity, did_you_mean};
use lockgate_engine::EngineEvent;
use lockgate_engine::provider::{
    CallContext, CreateRequest, CreateResponse, ProviderError, ReadRequest, ReadResponse,
};
use lockgate_model::urn::STACK_TYPE;
use lockgate_model::{PropertyMap, ResourceState, Value};

use crate::bag;
use crate::package::{Function, Kind};
use crate::stacks::{ReferencedStack, Stacks, StacksError};

/// The organization of every stack that is not kept by a service.
const ORGANIZATION: &str = "organization";
/// Stacks that an error lists; more would bury the rest of it.
const LISTED_MAX: usize = 12;

/// Reads other stacks.
pub(super) struct Reader(pub(super) Arc<dyn Stacks>);

impl Reader {
    /// The stack of a name as programs write it; a short one is of the caller's own project.
    async fn find(&self, ctx: &CallContext, name: &str) -> Result<ReferencedStack, ProviderError> {
        let (project, stack) = split(name, ctx.urn.project())?;
        let found = self.0.find(project, stack).await;
        found.map_err(|error| failed(error, project, stack))
    }

    /// The outputs of a stack, and the names of those that hold a secret.
    async fn outputs(&self, ctx: &CallContext, name: &str) -> Result<PropertyMap, ProviderError> {
        let found = self.find(ctx, name).await?;
        let live = |r: &&Arc<ResourceState>| r.type_token() == STACK_TYPE && !r.delete;
        let root = found.snapshot.resources.iter().find(live);
        let all = root.map(|root| root.outputs.clone()).unwrap_or_default();
        let (outputs, left_out) = opened(&all);
        warn(ctx, name, &left_out, found.locked.as_deref());
        let secret = outputs.iter().filter(|(_, value)| value.contains_secret());
        let secret = secret.map(|(name, _)| Value::from(name.as_str())).collect();
        Ok([
            ("name".to_owned(), Value::from(name)),
            ("outputs".to_owned(), Value::Map(outputs)),
            ("secretOutputNames".to_owned(), Value::List(secret)),
        ]
        .into())
    }
}

/// Project and stack of `stack`, `project/stack` or `organization/project/stack`.
fn split<'n>(name: &'n str, own: &'n str) -> Result<(&'n str, &'n str), ProviderError> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        [stack] if !stack.is_empty() => Ok((own, stack)),
        [project, stack] => Ok((project, stack)),
        [ORGANIZATION, project, stack] => Ok((project, stack)),
        [other, project, stack] => Err(ProviderError::Failed {
            message: format!("the stack `{name}` is of the organization `{other}`"),
            hints: vec![format!(
                "stacks that are kept in files have the organization `{ORGANIZATION}`; \
                 write `{ORGANIZATION}/{project}/{stack}`"
            )],
        }),
        _ => Err(ProviderError::Failed {
            message: format!("`{name}` names no stack"),
            hints: vec![format!(
                "write `stack`, `project/stack` or `{ORGANIZATION}/project/stack`"
            )],
        }),
    }
}

fn failed(error: StacksError, project: &str, stack: &str) -> ProviderError {
    let known = match error {
        StacksError::Unreadable { message, hints } => {
            return ProviderError::Failed { message, hints };
        }
        StacksError::Missing { known } => known,
    };
    let name = format!("{project}/{stack}");
    let mut hints = Vec::new();
    if let Some(near) = did_you_mean(&name, known.iter().map(String::as_str)) {
        hints.push(format!("did you mean `{near}`"));
    }
    hints.push(match known.len() {
        0 => "there are no stacks here yet".to_owned(),
        all => {
            let more = all.saturating_sub(LISTED_MAX);
            let rest = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let listed = &known[..all.min(LISTED_MAX)];
            format!("stacks are {}{rest}", listed.join(", "))
        }
    });
    ProviderError::Failed {
        message: format!("there is no stack `{name}`"),
        hints,
    }
}

/// The outputs that could be opened whole, and the names of the others.
fn opened(outputs: &PropertyMap) -> (PropertyMap, Vec<String>) {
    let mut left_out = Vec::new();
    let mut kept = PropertyMap::new();
    for (name, value) in outputs {
        // Nothing else in a state is unknown.
        if value.contains_unknown() {
            left_out.push(name.clone());
        } else {
            kept.insert(name.clone(), value.clone());
        }
    }
    (kept, left_out)
}

/// Tells what was left out.
fn warn(ctx: &CallContext, stack: &str, left_out: &[String], why: Option<&str>) {
    if left_out.is_empty() {
        return;
    }
    let names = left_out.join(", ");
    let why = why.unwrap_or("their secrets cannot be opened");
    ctx.events.emit(EngineEvent::Message {
        severity: Severity::Warning,
        urn: Some(ctx.urn.clone()),
        text: format!("secret outputs of stack `{stack}` were left out ({names}): {why}"),
        ephemeral: false,
    });
}

/// `StackReference`.
pub(super) struct StackReference(pub(super) Reader);

#[async_trait]
impl Kind for StackReference {
    /// How programs that do not read declare a reference; SDKs stopped doing so long ago.
    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let name = bag::text(&req.inputs, "name").unwrap_or_default();
        Ok(CreateResponse {
            id: name.to_owned(),
            outputs: self.0.outputs(ctx, name).await?,
        })
    }

    /// The id is the name of the stack.
    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let outputs = self.0.outputs(ctx, &req.id).await?;
        let inputs = [("name".to_owned(), Value::from(req.id.as_str()))].into();
        Ok(Some(ReadResponse {
            id: req.id,
            inputs: Some(inputs),
            outputs,
        }))
    }
}

/// `readStackOutputs`.
pub(super) struct ReadOutputs(pub(super) Reader);

#[async_trait]
impl Function for ReadOutputs {
    async fn call(
        &self,
        ctx: &CallContext,
        args: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let name = bag::text(&args, "name").unwrap_or_default();
        self.0.outputs(ctx, name).await
    }
}

/// `readStackResourceOutputs`.
pub(super) struct ReadResourceOutputs(pub(super) Reader);

#[async_trait]
impl Function for ReadResourceOutputs {
    async fn call(
        &self,
        ctx: &CallContext,
        args: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let name = bag::text(&args, "stackName").unwrap_or_default();
        let found = self.0.find(ctx, name).await?;
        let mut outputs = PropertyMap::new();
        let mut left_out = Vec::new();
        for resource in found.snapshot.resources.iter().filter(|r| !r.delete) {
            let (kept, without) = opened(&resource.outputs);
            let urn = resource.urn_str();
            left_out.extend(without.iter().map(|name| format!("{urn} {name}")));
            outputs.insert(urn.to_owned(), Value::Map(kept));
        }
        warn(ctx, name, &left_out, found.locked.as_deref());
        Ok([
            ("stackName".to_owned(), Value::from(name)),
            ("outputs".to_owned(), Value::Map(outputs)),
        ]
        .into())
    }
}
