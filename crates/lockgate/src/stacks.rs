//! The stacks that programs refer to, as packages see them: the backend, read off the threads
//! that drive a run.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_packages::{ReferencedStack, Stacks, StacksError};
use lockgate_state::{Backend, StackName, StateError};

/// The stacks of a backend.
pub(crate) struct KeptStacks {
    backend: Arc<Backend>,
}

impl KeptStacks {
    pub(crate) const fn new(backend: Arc<Backend>) -> Self {
        Self { backend }
    }
}

#[async_trait]
impl Stacks for KeptStacks {
    async fn find(&self, project: &str, stack: &str) -> Result<ReferencedStack, StacksError> {
        let backend = Arc::clone(&self.backend);
        let name = StackName::new(project, stack).map_err(|error| unreadable(&error))?;
        let found = tokio::task::spawn_blocking(move || find(&backend, &name)).await;
        found.unwrap_or_else(|error| {
            Err(StacksError::Unreadable {
                message: format!("reading the stack broke off: {error}"),
                hints: Vec::new(),
            })
        })
    }
}

fn find(backend: &Backend, name: &StackName) -> Result<ReferencedStack, StacksError> {
    match backend.load_referenced(name) {
        Ok((snapshot, locked)) => Ok(ReferencedStack {
            snapshot,
            locked: locked.map(|error| error.to_string()),
        }),
        Err(StateError::NoStack(_)) => {
            let stacks = backend.list_stacks(None).map_err(|e| unreadable(&e))?;
            let known = stacks.iter().map(|stack| stack.name.to_string()).collect();
            Err(StacksError::Missing { known })
        }
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &StateError) -> StacksError {
    let diagnostic = error.to_diagnostic();
    let causes = diagnostic.causes.iter().map(|cause| format!(": {cause}"));
    StacksError::Unreadable {
        message: causes.fold(diagnostic.message.clone(), |text, cause| text + &cause),
        hints: diagnostic.hints,
    }
}
