//! Resource providers, as the engine sees them: in-process packages and, later, plugins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::schema::PackageSchema;
use lockgate_model::{PropertyMap, Urn};
use tokio_util::sync::CancellationToken;

use crate::event::EventSink;

/// What every call carries besides its own data.
#[derive(Clone)]
pub struct CallContext {
    /// The resource the call is about; for invokes, the caller's parent or the stack.
    pub urn: Urn,
    /// Cancelled by the second interrupt, and by the first one for calls that say they can stop.
    pub cancel: CancellationToken,
    /// Where progress and log lines go.
    pub events: Arc<dyn EventSink>,
    /// No effects outside caches; outputs may hold unknowns.
    pub preview: bool,
}

/// Inputs to be checked.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// Inputs of the old state; `None` for a new or recreated resource.
    pub old_inputs: Option<PropertyMap>,
    /// Inputs of the program; may hold unknowns in a preview.
    pub inputs: PropertyMap,
    /// Seed for generated names.
    pub random_seed: [u8; 32],
}

/// Checked inputs, defaults filled in.
#[derive(Clone, Debug, Default)]
pub struct CheckResponse {
    /// What the state will keep.
    pub inputs: PropertyMap,
    /// What is wrong; not empty fails the resource.
    pub failures: Vec<CheckFailure>,
}

/// A wrong property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailure {
    /// Path of the property, empty for the resource as a whole.
    pub property: String,
    /// What is wrong and what was expected.
    pub reason: String,
}

/// Old and new to be compared.
#[derive(Clone, Debug)]
pub struct DiffRequest {
    /// Id of the resource.
    pub id: String,
    /// Its inputs in the state.
    pub old_inputs: PropertyMap,
    /// Its outputs in the state.
    pub old_outputs: PropertyMap,
    /// Checked new inputs.
    pub inputs: PropertyMap,
    /// Paths that are not to be compared (the engine already copied old values back).
    pub ignore_changes: Vec<String>,
}

/// Whether a difference was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DiffChanges {
    /// The engine compares inputs itself.
    #[default]
    Unknown,
    /// Nothing to do.
    None,
    /// Something to do.
    Some,
}

/// What a change would take.
#[derive(Clone, Debug, Default)]
pub struct DiffResponse {
    /// Whether anything differs.
    pub changes: DiffChanges,
    /// Properties whose change needs a replacement. Not empty means: replace.
    pub replaces: Vec<String>,
    /// Delete the old resource before creating the new one.
    pub delete_before_replace: bool,
    /// Each difference by property path; `None` when the provider cannot say.
    pub detailed: Option<BTreeMap<String, PropertyDiff>>,
    /// Outputs that keep their value through an update.
    pub stables: Vec<String>,
}

/// One difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PropertyDiff {
    /// What happens to the property.
    pub kind: DiffKind,
    /// Compares new inputs with old inputs (true) or with old outputs.
    pub input: bool,
}

/// What happens to a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffKind {
    /// Appears.
    Add,
    /// Appears, by replacement.
    AddReplace,
    /// Goes away.
    Delete,
    /// Goes away, by replacement.
    DeleteReplace,
    /// Changes.
    Update,
    /// Changes, by replacement.
    UpdateReplace,
}

/// A resource to be created.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// Checked inputs.
    pub inputs: PropertyMap,
    /// Time limit, if the program set one.
    pub timeout: Option<Duration>,
    /// The same for every repeat of this create, so that a lost answer can be found again.
    pub idempotency_key: String,
}

/// A created resource.
#[derive(Clone, Debug, Default)]
pub struct CreateResponse {
    /// Its id; empty only in a preview, where it means "not known yet".
    pub id: String,
    /// All outputs.
    pub outputs: PropertyMap,
}

/// A resource to be changed in place.
#[derive(Clone, Debug)]
pub struct UpdateRequest {
    /// Its id.
    pub id: String,
    /// Its inputs in the state.
    pub old_inputs: PropertyMap,
    /// Its outputs in the state.
    pub old_outputs: PropertyMap,
    /// Checked new inputs.
    pub inputs: PropertyMap,
    /// Time limit, if the program set one.
    pub timeout: Option<Duration>,
    /// As for create.
    pub idempotency_key: String,
}

/// A resource to be removed. Removing what is gone already succeeds.
#[derive(Clone, Debug)]
pub struct DeleteRequest {
    /// Its id.
    pub id: String,
    /// Its inputs in the state.
    pub old_inputs: PropertyMap,
    /// Its outputs in the state.
    pub old_outputs: PropertyMap,
    /// Time limit, if the program set one.
    pub timeout: Option<Duration>,
}

/// A resource to be read back.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// Its id.
    pub id: String,
    /// Known inputs; empty when importing.
    pub inputs: PropertyMap,
    /// Known outputs; empty when importing.
    pub outputs: PropertyMap,
}

/// A resource as it is.
#[derive(Clone, Debug, Default)]
pub struct ReadResponse {
    /// Its id.
    pub id: String,
    /// Inputs that would produce it, if the provider can say.
    pub inputs: Option<PropertyMap>,
    /// Its outputs.
    pub outputs: PropertyMap,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Nothing was created or changed.
    #[error("{message}")]
    Failed {
        /// What was found, in the user's words.
        message: String,
        /// Next steps.
        hints: Vec<String>,
    },
    /// The resource exists but is not in order; the state keeps it with these reasons.
    #[error("{}", reasons.join("; "))]
    Partial {
        /// Its id.
        id: String,
        /// Its outputs so far.
        outputs: PropertyMap,
        /// What is wrong.
        reasons: Vec<String>,
    },
    /// The answer was lost; the resource may exist.
    #[error("the outcome is unknown: {message}")]
    Unknown {
        /// What happened.
        message: String,
    },
    /// The run was interrupted.
    #[error("cancelled")]
    Cancelled,
    /// The package has no resource of this type.
    #[error("{message}")]
    UnknownType {
        /// What was looked for and where.
        message: String,
        /// A type of nearly this name.
        hint: Option<String>,
    },
    /// The type has no such operation.
    #[error("{0} is not supported")]
    Unsupported(String),
}

impl ProviderError {
    /// A plain failure without hints.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            hints: Vec::new(),
        }
    }
}

/// A resource package at work. Calls for different resources run in parallel.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Checks inputs and fills in defaults. Pure; must accept unknowns.
    async fn check(
        &self,
        ctx: &CallContext,
        req: CheckRequest,
    ) -> Result<CheckResponse, ProviderError>;
    /// Compares. Pure; must accept unknowns, which count as changed.
    async fn diff(
        &self,
        ctx: &CallContext,
        req: DiffRequest,
    ) -> Result<DiffResponse, ProviderError>;
    /// Creates; in a preview only foretells the outputs.
    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError>;
    /// Changes in place and returns all outputs; in a preview only foretells them.
    async fn update(
        &self,
        ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError>;
    /// Removes.
    async fn delete(&self, ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError>;
    /// Reads back; `None` when it is gone.
    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError>;
    /// Calls a function of the package. `Err` entries are wrong arguments.
    async fn invoke(
        &self,
        ctx: &CallContext,
        function: &str,
        args: PropertyMap,
    ) -> Result<Result<PropertyMap, Vec<CheckFailure>>, ProviderError>;
}

/// Finds providers and schemas by package name.
#[async_trait]
pub trait Providers: Send + Sync {
    /// The schema of a package, if there is one.
    fn schema(&self, package: &str) -> Option<Arc<PackageSchema>>;
    /// Every package that has a schema, for did-you-mean.
    fn packages(&self) -> Vec<String>;
    /// A configured provider. `config` holds the inputs of its provider resource (the stack
    /// config of the package for the default provider).
    async fn configure(
        &self,
        package: &str,
        version: Option<&str>,
        config: &PropertyMap,
    ) -> Result<Arc<dyn Provider>, ProviderError>;
}
