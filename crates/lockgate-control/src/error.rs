//! Why a use case was not done. Each variant is a kind the API turns into one status; the
//! diagnostic inside is what the caller is told.

use lockgate_diag::Diagnostic;
use lockgate_store::StoreError;

/// Why a use case was not done. Nothing changed, or what changed was undone.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The request contradicts itself or a rule.
    #[error("{}", .0.message)]
    Invalid(Box<Diagnostic>),
    /// Something it needs is not there.
    #[error("{}", .0.message)]
    NotFound(Box<Diagnostic>),
    /// Something else still needs what it would remove.
    #[error("{}", .0.message)]
    Conflict(Box<Diagnostic>),
    /// The new version did not become healthy.
    #[error("{}", .0.message)]
    Rollout(Box<Diagnostic>),
    /// The gateway refused the spec that would result, or did not answer.
    #[error("{}", .0.message)]
    Table(Box<Diagnostic>),
    /// The store failed. The source is for the node's log, not for the caller.
    #[error("the store of the node failed")]
    Store(#[source] StoreError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closing,
    /// A bug; the node's log holds its place.
    #[error("the node met a bug while it made the change")]
    Panicked,
}
