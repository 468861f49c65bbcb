//! Where the engine writes down what it does.

use async_trait::async_trait;
use lockgate_model::JournalEntry;

/// Whether an append waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Resolve when the entries would survive a power loss. Concurrent appends share one fsync.
    Durable,
    /// Resolve when the entries are queued in order; a later durable append covers them.
    Queued,
}

/// Why nothing more can be written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another holder took the lease over; this run must stop.
    #[error("the lease of the stack was taken over by another run")]
    LeaseLost,
    /// The store failed.
    #[error("write the journal of the stack")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An ordered, durable log of one run.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends entries in order.
    async fn append(
        &self,
        entries: Vec<JournalEntry>,
        durability: Durability,
    ) -> Result<(), JournalError>;
}

mod replay;

pub(crate) use replay::displace;
pub use replay::{ReplayError, replay};
