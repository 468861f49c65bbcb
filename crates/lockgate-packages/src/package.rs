//! A package at work: the part of a provider that is the same for every resource type.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::did_you_mean;
use lockgate_engine::provider::{
    CallContext, CheckFailure, CheckRequest, CheckResponse, CreateRequest, CreateResponse,
    DeleteRequest, DiffRequest, DiffResponse, Provider, ProviderError, ReadRequest, ReadResponse,
    UpdateRequest,
};
use lockgate_model::schema::{PackageSchema, ResourceSchema};
use lockgate_model::{PropertyMap, ServiceId, Urn, Value};

use crate::check::check_inputs;
use crate::diff::diff_inputs;

/// What one resource type adds to its schema.
#[async_trait]
pub(crate) trait Kind: Send + Sync {
    /// Rules that the schema cannot express. `inputs` passed the schema; may hold unknowns.
    fn check(&self, _ctx: &CallContext, _inputs: &PropertyMap) -> Vec<CheckFailure> {
        Vec::new()
    }

    /// Corrects what the schema says about the differences of `req`.
    async fn diff(
        &self,
        _ctx: &CallContext,
        _req: &DiffRequest,
        found: DiffResponse,
    ) -> Result<DiffResponse, ProviderError> {
        Ok(found)
    }

    /// Makes real what the inputs say, outside previews: a create and an update at once. A type for
    /// which they are two implements [`Kind::create`] and [`Kind::update`] instead.
    async fn apply(
        &self,
        ctx: &CallContext,
        _inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let token = ctx.urn.type_token();
        Err(ProviderError::Unsupported(format!("update of {token}")))
    }

    /// The id of what was applied; by default who it is.
    fn id(&self, ctx: &CallContext, _outputs: &PropertyMap) -> String {
        identity(&ctx.urn).to_string()
    }

    /// Foretells the outputs of a create or an update. `outputs` holds the inputs, and unknown for
    /// the rest.
    async fn foretell(
        &self,
        _ctx: &CallContext,
        _inputs: &PropertyMap,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(outputs)
    }

    /// Creates, outside previews.
    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let outputs = self.apply(ctx, req.inputs).await?;
        let id = self.id(ctx, &outputs);
        Ok(CreateResponse { id, outputs })
    }

    /// Changes in place, outside previews.
    async fn update(
        &self,
        ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        self.apply(ctx, req.inputs).await
    }

    /// Foretells the outputs of an update where they follow from what is there.
    async fn foretell_update(
        &self,
        ctx: &CallContext,
        req: &UpdateRequest,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.foretell(ctx, &req.inputs, outputs).await
    }

    /// Removes.
    async fn delete(&self, _ctx: &CallContext, _req: DeleteRequest) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Reads back; by default the state is all there is.
    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        if req.outputs.is_empty() {
            return self.import(ctx, &req.id).map(Some);
        }
        Ok(Some(ReadResponse {
            id: req.id,
            inputs: Some(req.inputs),
            outputs: req.outputs,
        }))
    }

    /// Takes over what no state knows, where the id says everything.
    fn import(&self, ctx: &CallContext, _id: &str) -> Result<ReadResponse, ProviderError> {
        let token = ctx.urn.type_token();
        Err(ProviderError::Unsupported(format!("import of {token}")))
    }
}

/// Who a resource is on the node: project, stack and logical name.
pub(crate) fn identity(urn: &Urn) -> ServiceId {
    ServiceId {
        project: urn.project().to_owned(),
        stack: urn.stack().to_owned(),
        name: urn.name().to_owned(),
    }
}

/// A function of a package.
#[async_trait]
pub(crate) trait Function: Send + Sync {
    /// Calls it with checked arguments.
    async fn call(
        &self,
        ctx: &CallContext,
        args: PropertyMap,
    ) -> Result<PropertyMap, ProviderError>;
}

/// The provider of one package.
pub(crate) struct Package {
    pub(crate) schema: Arc<PackageSchema>,
    pub(crate) kinds: BTreeMap<&'static str, Box<dyn Kind>>,
    pub(crate) functions: BTreeMap<&'static str, Box<dyn Function>>,
}

impl Package {
    fn find(&self, ctx: &CallContext) -> Result<(&ResourceSchema, &dyn Kind), ProviderError> {
        let token = ctx.urn.type_token();
        match (self.schema.resources.get(token), self.kinds.get(token)) {
            (Some(schema), Some(kind)) => Ok((schema, kind.as_ref())),
            _ => {
                let near = did_you_mean(token, self.kinds.keys().copied());
                Err(ProviderError::UnknownType {
                    message: format!(
                        "package `{}` has no resource type `{token}`",
                        self.schema.name
                    ),
                    hint: near.map(|near| format!("did you mean `{near}`")),
                })
            }
        }
    }
}

/// Outputs before anything happened: the inputs, and unknown for what only the work can tell.
fn unknown_outputs(schema: &ResourceSchema, inputs: &PropertyMap) -> PropertyMap {
    let mut outputs: PropertyMap = schema
        .outputs
        .iter()
        .filter(|(name, property)| property.required && !schema.inputs.contains_key(*name))
        .map(|(name, _)| (name.clone(), Value::Unknown))
        .collect();
    outputs.extend(inputs.clone());
    outputs
}

/// Wraps what the schema declares secret.
fn with_secrets(schema: &ResourceSchema, mut outputs: PropertyMap) -> PropertyMap {
    for (name, value) in &mut outputs {
        if schema.outputs.get(name).is_some_and(|p| p.secret) {
            *value = std::mem::take(value).into_secret();
        }
    }
    outputs
}

#[async_trait]
impl Provider for Package {
    async fn check(
        &self,
        ctx: &CallContext,
        req: CheckRequest,
    ) -> Result<CheckResponse, ProviderError> {
        let (schema, kind) = self.find(ctx)?;
        let (inputs, mut failures) = check_inputs(&schema.inputs, &req.inputs);
        if failures.is_empty() {
            failures = kind.check(ctx, &inputs);
        }
        Ok(CheckResponse { inputs, failures })
    }

    async fn diff(
        &self,
        ctx: &CallContext,
        req: DiffRequest,
    ) -> Result<DiffResponse, ProviderError> {
        let (schema, kind) = self.find(ctx)?;
        let found = diff_inputs(&schema.inputs, &req);
        kind.diff(ctx, &req, found).await
    }

    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let (schema, kind) = self.find(ctx)?;
        let created = if ctx.preview {
            let outputs = unknown_outputs(schema, &req.inputs);
            CreateResponse {
                id: String::new(),
                outputs: kind.foretell(ctx, &req.inputs, outputs).await?,
            }
        } else {
            kind.create(ctx, req).await?
        };
        Ok(CreateResponse {
            id: created.id,
            outputs: with_secrets(schema, created.outputs),
        })
    }

    async fn update(
        &self,
        ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        let (schema, kind) = self.find(ctx)?;
        let outputs = if ctx.preview {
            let outputs = unknown_outputs(schema, &req.inputs);
            kind.foretell_update(ctx, &req, outputs).await?
        } else {
            kind.update(ctx, req).await?
        };
        Ok(with_secrets(schema, outputs))
    }

    async fn delete(&self, ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        self.find(ctx)?.1.delete(ctx, req).await
    }

    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let (schema, kind) = self.find(ctx)?;
        let read = kind.read(ctx, req).await?;
        Ok(read.map(|read| ReadResponse {
            outputs: with_secrets(schema, read.outputs),
            ..read
        }))
    }

    async fn invoke(
        &self,
        ctx: &CallContext,
        function: &str,
        args: PropertyMap,
    ) -> Result<Result<PropertyMap, Vec<CheckFailure>>, ProviderError> {
        let found = self.schema.functions.get(function);
        let (Some(schema), Some(code)) = (found, self.functions.get(function)) else {
            return Err(ProviderError::failed(format!(
                "package `{}` has no function `{function}`",
                self.schema.name
            )));
        };
        let (args, failures) = check_inputs(&schema.inputs, &args);
        if !failures.is_empty() {
            return Ok(Err(failures));
        }
        code.call(ctx, args).await.map(Ok)
    }
}
