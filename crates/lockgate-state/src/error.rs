//! What can go wrong with stored stacks, and the diagnostic for each case.

use std::path::PathBuf;

use lockgate_diag::{Code, Diagnostic, codes::state};

use crate::deployment::DeploymentError;
use crate::lease::Holder;
use crate::name::StackName;
use crate::secrets::SecretsError;

/// A failure of the state backend.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk refused an operation.
    #[error("{action} `{}`", path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A name that nothing of its kind can have.
    #[error("`{name}` cannot name a {what}: {why}")]
    Name {
        /// `project`, `stack` or `backend`.
        what: &'static str,
        /// The name.
        name: String,
        /// The reason.
        why: String,
    },
    /// There is no such stack.
    #[error("there is no stack `{0}`")]
    NoStack(StackName),
    /// The stack exists already.
    #[error("the stack `{0}` exists already")]
    StackExists(StackName),
    /// The stack still has resources.
    #[error("the stack `{stack}` still has {resources} resources")]
    NotEmpty {
        /// The stack.
        stack: StackName,
        /// How many.
        resources: usize,
    },
    /// Somebody else works on the stack.
    #[error("the stack `{stack}` is in use by {holder}")]
    Held {
        /// The stack.
        stack: StackName,
        /// Who.
        holder: Box<Holder>,
    },
    /// Another run took the lease over.
    #[error("the lease of the stack `{0}` was taken over by another run")]
    LeaseLost(StackName),
    /// A file does not hold what was written to it.
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A file of a newer version of Lockgate.
    #[error("`{}` has format {found}, this version of lockgate reads up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that is understood.
        known: u64,
    },
    /// The deployment is malformed or inconsistent.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The secrets of the stack cannot be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The journal contradicts the snapshot it starts from.
    #[error("replay the journal of the stack `{stack}`")]
    Replay {
        /// The stack.
        stack: StackName,
        /// What contradicts.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StateError {
    /// Wraps an I/O error of `path`.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// The diagnostic for a terminal or the API, with the next step.
    pub fn to_diagnostic(&self) -> Diagnostic {
        let (code, hint) = self.code_and_hint();
        let mut diagnostic = Diagnostic::error(code, self.to_string());
        if let Some(source) = std::error::Error::source(self) {
            diagnostic = diagnostic.caused_by(source);
        }
        match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    }

    fn code_and_hint(&self) -> (Code, Option<String>) {
        match self {
            Self::Io { .. } => (state::STATE_IO, None),
            Self::Name { what, .. } => (state::STACK_NAME, Some(name_hint(what).to_owned())),
            Self::NoStack(stack) => (
                state::NO_STACK,
                Some(format!("run `lockgate stack init {}`", stack.stack())),
            ),
            Self::StackExists(stack) => (
                state::STACK_EXISTS,
                Some(format!("run `lockgate stack select {}`", stack.stack())),
            ),
            Self::NotEmpty { .. } => (
                state::STACK_NOT_EMPTY,
                Some("run `lockgate destroy` first".to_owned()),
            ),
            Self::Held { .. } => (
                state::STACK_HELD,
                Some("wait for it to finish, or stop it and run `lockgate cancel`".to_owned()),
            ),
            Self::LeaseLost(_) => (
                state::LEASE_LOST,
                Some("run the command again: it starts from what was written".to_owned()),
            ),
            Self::Damaged { .. } | Self::Replay { .. } => (
                state::STATE_DAMAGED,
                Some("run `lockgate stack repair`: it keeps the damaged file beside".to_owned()),
            ),
            Self::Newer { .. } => (
                state::STATE_NEWER,
                Some("use the version of lockgate that wrote it, or a later one".to_owned()),
            ),
            Self::Deployment(error) => error.code_and_hint(),
            Self::Secrets(error) => (state::SECRETS, error.hint()),
        }
    }
}

fn name_hint(what: &str) -> &'static str {
    match what {
        "backend" => "use `file://` and a folder, for example `file://~/stacks`",
        _ => "use letters, digits, `_`, `.` and `-`",
    }
}
