//! What a stack remembers of its resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::time::Timestamp;
use crate::urn::Urn;
use crate::value::PropertyMap;

/// Time limits per operation, seconds; `None` means the provider's own.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct CustomTimeouts {
    /// For create.
    pub create: Option<f64>,
    /// For update.
    pub update: Option<f64>,
    /// For delete.
    pub delete: Option<f64>,
    /// For read.
    pub read: Option<f64>,
}

/// One resource in the state of a stack. Fields follow the deployment format's keys
/// (engine guide, section 13.1); what Lockgate does not act on is kept in `extra`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ResourceState {
    /// Identity; always present in a valid state.
    pub urn: Option<Urn>,
    /// Managed by a provider (true) or a component (false).
    pub custom: bool,
    /// The provider's id; empty for components and before creation.
    pub id: String,
    /// Parent resource.
    pub parent: Option<Urn>,
    /// `<provider urn>::<provider id>`; empty for components and providers.
    pub provider: String,
    /// Checked inputs.
    pub inputs: PropertyMap,
    /// Outputs.
    pub outputs: PropertyMap,
    /// Everything it depends on.
    pub dependencies: Vec<Urn>,
    /// What each input depends on.
    pub property_dependencies: BTreeMap<String, Vec<Urn>>,
    /// Not deleted itself when this one is.
    pub deleted_with: Option<Urn>,
    /// Replaced when one of these is.
    pub replace_with: Vec<Urn>,
    /// Output names made secret by an option.
    pub additional_secret_outputs: Vec<String>,
    /// Errors of an initialisation that left the resource in place.
    pub init_errors: Vec<String>,
    /// Waits for its deletion after a replacement was created.
    pub delete: bool,
    /// May not be deleted.
    pub protect: bool,
    /// To be replaced at the next occasion.
    pub taint: bool,
    /// Read, not managed.
    pub external: bool,
    /// Deleted before its replacement exists.
    pub pending_replacement: bool,
    /// Deleting forgets it without a provider call.
    pub retain_on_delete: bool,
    /// Id given by the `import` option.
    pub import_id: String,
    /// Input paths that are not compared.
    pub ignore_changes: Vec<String>,
    /// Input paths whose change replaces.
    pub replace_on_changes: Vec<String>,
    /// Time limits.
    pub custom_timeouts: CustomTimeouts,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When its values last changed.
    pub modified: Option<Timestamp>,
    /// `project:///<path>#<line>,<column>`.
    pub source_position: String,
    /// Keys of the format that Lockgate does not act on: name to JSON text, kept on a round trip.
    pub extra: BTreeMap<String, String>,
}

impl ResourceState {
    /// The URN as text; empty in a state that failed its check.
    pub fn urn_str(&self) -> &str {
        self.urn.as_ref().map_or("", Urn::as_str)
    }

    /// The type token; empty in a state that failed its check.
    pub fn type_token(&self) -> &str {
        self.urn.as_ref().map_or("", Urn::type_token)
    }

    /// Whether it is a provider resource.
    pub fn is_provider(&self) -> bool {
        self.type_token().starts_with("pulumi:providers:")
    }
}

/// What was under way when a run ended without saying how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingKind {
    /// A create whose answer was lost.
    Creating,
    /// An update whose answer was lost.
    Updating,
    /// A delete whose answer was lost.
    Deleting,
    /// A read whose answer was lost.
    Reading,
}

/// An operation with an unknown outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingOperation {
    /// The resource as it was sent to the provider.
    pub resource: Arc<ResourceState>,
    /// What was under way.
    pub kind: PendingKind,
    /// The key the provider was given, so that a repeat can find the first attempt.
    pub idempotency_key: String,
}

/// The state of a stack at a moment. Each entry comes after everything it refers to.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Snapshot {
    /// Entries in dependency order.
    pub resources: Vec<Arc<ResourceState>>,
    /// Operations with unknown outcome.
    pub pending: Vec<PendingOperation>,
    /// Keys of the format that Lockgate does not act on: name to JSON text.
    pub extra: BTreeMap<String, String>,
}
