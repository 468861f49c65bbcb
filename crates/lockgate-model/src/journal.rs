//! What the engine writes down before and after each step.
//!
//! A run starts from a base snapshot of `n` entries, numbered `0..n`. Every entry that the run
//! produces gets the next number. Replaying the journal over the base gives the state at any
//! moment: entries produced so far in order of completion, then the base entries not yet done.

use std::sync::Arc;

use crate::resource::{PendingKind, ResourceState};
use crate::value::PropertyMap;

/// Names an entry of the state during one run; see the module text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub u64);

/// What a step does, as shown to people and written to history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepOp {
    /// Nothing changes.
    Same,
    /// A new resource.
    Create,
    /// A change in place.
    Update,
    /// Removal.
    Delete,
    /// A replacement as a whole; has no provider call of its own.
    Replace,
    /// The new resource of a replacement.
    CreateReplacement,
    /// Removal of the old resource of a replacement.
    DeleteReplaced,
    /// An external resource is read.
    Read,
    /// An external resource takes the place of a managed one.
    ReadReplacement,
    /// The true state is read back.
    Refresh,
    /// An entry is forgotten.
    Discard,
    /// The entry of a replaced external resource is forgotten.
    DiscardReplaced,
    /// An entry deleted before its replacement is forgotten.
    RemovePendingReplace,
    /// An existing resource is taken over.
    Import,
    /// An existing resource takes the place of another.
    ImportReplacement,
}

impl StepOp {
    /// Every operation, in display order.
    pub const ALL: [Self; 15] = [
        Self::Same,
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Replace,
        Self::CreateReplacement,
        Self::DeleteReplaced,
        Self::Read,
        Self::ReadReplacement,
        Self::Refresh,
        Self::Discard,
        Self::DiscardReplaced,
        Self::RemovePendingReplace,
        Self::Import,
        Self::ImportReplacement,
    ];

    /// The name used in events and JSON (engine guide, section 14).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Replace => "replace",
            Self::CreateReplacement => "create-replacement",
            Self::DeleteReplaced => "delete-replaced",
            Self::Read => "read",
            Self::ReadReplacement => "read-replacement",
            Self::Refresh => "refresh",
            Self::Discard => "discard",
            Self::DiscardReplaced => "discard-replaced",
            Self::RemovePendingReplace => "remove-pending-replace",
            Self::Import => "import",
            Self::ImportReplacement => "import-replacement",
        }
    }
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum JournalEntry {
    /// A provider is about to be called. Durable before the call.
    Begin {
        /// Number of the step within the run.
        step: u64,
        /// What kind of call.
        kind: PendingKind,
        /// The resource as sent to the provider.
        resource: Arc<ResourceState>,
        /// The key sent along, so that a repeat can find this attempt.
        idempotency_key: String,
    },
    /// A step ended well, or failed in part and left something behind. Durable before any
    /// dependent starts.
    Done {
        /// The step that began, if it had a provider call.
        step: Option<u64>,
        /// Entries that are gone or rewritten.
        remove: Vec<EntryId>,
        /// The entry that was produced.
        add: Option<(EntryId, Arc<ResourceState>)>,
    },
    /// A step failed. With `unresolved`, its outcome is unknown and stays pending.
    Failed {
        /// The step that began.
        step: u64,
        /// The provider may or may not have acted.
        unresolved: bool,
    },
    /// A base entry is part of the result as it was.
    Keep {
        /// The entry.
        entry: EntryId,
    },
    /// The outputs of a component or of the stack, replaced whole.
    Outputs {
        /// An entry produced or kept in this run.
        entry: EntryId,
        /// The new outputs.
        outputs: PropertyMap,
    },
    /// A pending operation of the base snapshot was resolved.
    Resolved {
        /// Its index in the base snapshot's list.
        pending: u64,
    },
    /// The program and all deletes finished: base entries that were neither kept nor removed
    /// stay where they are, behind the produced ones.
    Finished,
}
