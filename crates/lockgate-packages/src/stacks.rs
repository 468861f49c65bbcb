//! What the `pulumi` package asks of the place where stacks are kept. The adapter over the state
//! lives in the binary; tests bring a fake.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::Snapshot;

/// Where the stacks of all projects are kept.
#[async_trait]
pub trait Stacks: Send + Sync {
    /// A stack as its last whole run left it. Waits for nobody who works on it.
    async fn find(&self, project: &str, stack: &str) -> Result<ReferencedStack, StacksError>;
}

/// A stack that another one refers to.
#[derive(Clone, Debug, Default)]
pub struct ReferencedStack {
    /// Its state. A secret that could not be opened is unknown inside its `Secret`.
    pub snapshot: Arc<Snapshot>,
    /// Why secrets could not be opened, when some could not.
    pub locked: Option<String>,
}

/// Why there is no stack to refer to.
#[derive(Debug, thiserror::Error)]
pub enum StacksError {
    /// There is none of this name.
    #[error("there is no such stack")]
    Missing {
        /// Every stack there is, as `project/stack`.
        known: Vec<String>,
    },
    /// It cannot be read.
    #[error("{message}")]
    Unreadable {
        /// What was found, in the user's words.
        message: String,
        /// Next steps.
        hints: Vec<String>,
    },
}
