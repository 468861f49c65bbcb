//! Where stacks are kept: a folder per stack with a snapshot, the journal of the run under way,
//! a lease and the history of past runs.
//!
//! In: journal entries of the engine, deployment JSON of other tools, the passphrase or key of a
//! stack. Out: a checked [`Snapshot`](lockgate_model::Snapshot), a [`StackJournal`] for the
//! engine, deployment JSON in version 3 or 4.
//! Never: a secret value in a file, a snapshot that fails its integrity check, a write by a run
//! whose lease was taken over. It reads no environment variable and prints nothing.
//!
//! Functions block on the disk unless they are `async`. Start reading at [`Backend`]; the
//! formats are in [`deployment`] and `journal/frame.rs`, the rules for crashes in [`files`].
#![deny(missing_docs)]

pub mod backend;
pub mod deployment;
pub mod error;
pub mod files;
pub mod history;
pub mod journal;
pub mod lease;
pub mod name;
pub mod secrets;
mod snapshot;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use backend::{
    Backend, ForeignUrns, Loaded, Recovery, RemoveMode, Repair, StackSummary, parse_backend_url,
};
pub use deployment::{Decoded, ExportedSecrets, decode_deployment, encode_deployment};
pub use error::StateError;
pub use files::{FAULT_POINTS, FaultHook};
pub use history::{ConfigEntry, HistoryEntry, HistoryPage, RunKind, RunResult};
pub use journal::{Committed, StackJournal};
pub use lease::{Holder, Lease};
pub use name::StackName;
pub use secrets::{Keyring, SecretsConfig, SecretsError, SecretsManager, StackFileSecrets};
