//! Programs, as the engine sees them: something that registers resources with a monitor.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::{Diagnostic, Label, Severity};
use lockgate_model::resource::CustomTimeouts;
use lockgate_model::{PropertyMap, Urn};

/// A resource that a program wants.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// Full type token.
    pub type_token: String,
    /// Logical name.
    pub name: String,
    /// Managed by a provider (true) or a component (false).
    pub custom: bool,
    /// Inputs; may hold unknowns in a preview.
    pub inputs: PropertyMap,
    /// Resources each input came from. Empty: every input depends on all `dependencies`.
    pub property_dependencies: BTreeMap<String, Vec<Urn>>,
    /// Options.
    pub options: ResourceOptions,
}

/// The options of a resource (engine guide, sections 6 and 15).
#[derive(Clone, Debug, Default)]
pub struct ResourceOptions {
    /// Parent; the root stack when `None`.
    pub parent: Option<Urn>,
    /// `dependsOn` and everything the inputs depend on.
    pub depends_on: Vec<Urn>,
    /// `None` inherits from the parent.
    pub protect: Option<bool>,
    /// `None` inherits from the parent.
    pub retain_on_delete: Option<bool>,
    /// Input paths not to be compared.
    pub ignore_changes: Vec<String>,
    /// Input paths whose change replaces.
    pub replace_on_changes: Vec<String>,
    /// `None` leaves the choice to the provider.
    pub delete_before_replace: Option<bool>,
    /// Outputs that become secret.
    pub additional_secret_outputs: Vec<String>,
    /// Earlier identities.
    pub aliases: Vec<Alias>,
    /// Id of an existing resource to take over.
    pub import_id: Option<String>,
    /// Time limits.
    pub custom_timeouts: CustomTimeouts,
    /// Goes away with this resource.
    pub deleted_with: Option<Urn>,
    /// Replaced when one of these is.
    pub replace_with: Vec<Urn>,
    /// Replaces when it changes; null means none.
    pub replacement_trigger: Option<lockgate_model::Value>,
    /// Properties left out of displays.
    pub hide_diffs: Vec<String>,
    /// `<urn>::<id>` of an explicit provider.
    pub provider: Option<String>,
    /// The same for children, by package.
    pub providers: BTreeMap<String, String>,
    /// Package version asked for.
    pub version: Option<String>,
    /// `project:///<path>#<line>,<column>`.
    pub source_position: Option<String>,
    /// Where it is declared; asked only about an error.
    pub places: Option<Arc<dyn Places>>,
}

/// Where a resource is declared in the text of its program.
///
/// A registration carries it unasked: making one must cost next to nothing, finding the places
/// may read a file.
pub trait Places: fmt::Debug + Send + Sync {
    /// The places of a property, the main one first. `property` is a path such as
    /// `routes[0].path`; what the text does not hold is at what it would stand in, at last at the
    /// resource, which is also meant by the empty path. Without an answer no place is known.
    fn find(&self, property: &str) -> Vec<Label>;
}

impl ResourceOptions {
    /// A diagnostic about a property of the resource, or about the resource itself, with its
    /// places.
    pub(crate) fn place(&self, mut diagnostic: Diagnostic, property: &str) -> Diagnostic {
        if let Some(places) = &self.places {
            diagnostic.labels.extend(places.find(property));
        }
        diagnostic
    }
}

/// An earlier identity of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// A whole URN.
    Urn(Urn),
    /// Parts that differ; missing ones are the resource's own.
    Parts {
        /// Name.
        name: Option<String>,
        /// Type token.
        type_token: Option<String>,
        /// Stack.
        stack: Option<String>,
        /// Project.
        project: Option<String>,
        /// Parent.
        parent: AliasParent,
    },
}

/// The parent in an alias.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AliasParent {
    /// As the resource has now.
    #[default]
    Same,
    /// Had none.
    None,
    /// This one.
    Urn(Urn),
}

/// A registered resource.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    /// Its URN.
    pub urn: Option<Urn>,
    /// Its id; empty when unknown or a component.
    pub id: String,
    /// The id is not known yet.
    pub id_unknown: bool,
    /// All outputs; empty for components.
    pub outputs: PropertyMap,
}

/// An existing resource that a program wants to look at (`get`, `.get()`).
#[derive(Clone, Debug, Default)]
pub struct ReadResource {
    /// Full type token.
    pub type_token: String,
    /// Logical name.
    pub name: String,
    /// Its id; required.
    pub id: String,
    /// Known properties.
    pub inputs: PropertyMap,
    /// Options; only parent, dependencies, provider, version and secrets count.
    pub options: ResourceOptions,
}

/// A function call of a program.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// Full function token.
    pub function: String,
    /// Arguments.
    pub args: PropertyMap,
    /// Explicit provider.
    pub provider: Option<String>,
    /// Package version asked for.
    pub version: Option<String>,
    /// Resources that must exist first.
    pub depends_on: Vec<Urn>,
    /// Parent, for provider inheritance.
    pub parent: Option<Urn>,
}

/// The answer of a function: `None` means unknown (a dependency is still to be created).
pub type InvokeOutcome = Option<PropertyMap>;

/// Why the monitor gave no answer. The details were reported as events already.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// This resource failed; others may go on.
    #[error("{0}")]
    Failed(String),
    /// The run ends; register nothing more.
    #[error("the run was stopped")]
    Stopped,
}

/// The engine's side of a running program. Calls may overlap freely.
#[async_trait]
pub trait Monitor: Send + Sync {
    /// Registers a resource and waits until it is in order (or foretold, in a preview).
    async fn register(&self, registration: Registration) -> Result<Registered, MonitorError>;
    /// Replaces the outputs of a component or of the stack.
    async fn register_outputs(&self, urn: Urn, outputs: PropertyMap) -> Result<(), MonitorError>;
    /// Reads an existing resource.
    async fn read(&self, resource: ReadResource) -> Result<Registered, MonitorError>;
    /// Calls a function.
    async fn invoke(&self, invocation: Invocation) -> Result<InvokeOutcome, MonitorError>;
    /// Says something to the user.
    fn log(&self, severity: Severity, urn: Option<Urn>, message: String);
    /// Whether this is a preview.
    fn is_preview(&self) -> bool;
    /// URN of the root stack, registered by the engine before the source runs.
    fn stack_urn(&self) -> Urn;
}

/// How a program ended when it did not end well. A run with such an end plans no delete.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// What is wrong with the program; nothing of it was registered unless it says so.
    #[error("{} mistakes in the program", .0.len())]
    Diagnostics(Vec<Diagnostic>),
    /// A registration failed and was reported already.
    #[error("the program stopped after a failed resource")]
    Stopped,
    /// The program itself failed.
    #[error("{0}")]
    Failed(String),
}

/// A program.
#[async_trait]
pub trait Source: Send {
    /// Runs to its end. `Ok` means: the program ended well and everything was registered.
    async fn run(&mut self, monitor: Arc<dyn Monitor>) -> Result<(), SourceError>;

    /// Called once after `run`, when everything is done, deletes included. A program that was
    /// kept waiting until then may end; an error fails the run, but undoes nothing.
    async fn finish(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}
