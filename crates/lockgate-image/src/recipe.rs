//! From instructions to a recipe: which stages are reachable, what each step does, and the
//! configuration the image will have. Pure: base configurations are passed in.

mod command;
mod copy;
mod outline;
mod scope;
mod stage;

use lockgate_diag::Span;
use lockgate_model::Digest;

use crate::oci::RuntimeConfig;

pub(crate) use copy::{Chmod, Source};
pub(crate) use outline::{BaseRef, Outline, StageHead, outline};
pub(crate) use scope::{PassedArgs, Scope as ScopeOfStage};
pub(crate) use stage::{StageInput, evaluate};

/// What a stage starts from, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing.
    Scratch,
    /// An image of the store, by manifest digest.
    Image(Digest),
    /// An earlier stage.
    Stage(usize),
}

/// A stage ready to be assembled.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) base: Base,
    pub(crate) steps: Vec<Step>,
    /// Configuration after the last step.
    pub(crate) config: RuntimeConfig,
    /// From MAINTAINER.
    pub(crate) author: Option<String>,
}

/// One instruction, expanded.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Text for the history.
    pub(crate) created_by: String,
    pub(crate) action: Action,
}

/// What a step does beside the configuration.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Only the configuration changes.
    Config,
    /// The folder is made if it is missing, owned by `user`.
    Workdir { path: String, user: String },
    /// Files are added.
    Copy(Copy),
}

/// Where a COPY takes its files from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The build context.
    Context,
    /// An earlier stage.
    Stage(usize),
    /// An image of the store.
    Image(Digest),
}

/// COPY or ADD.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) span: Span,
    pub(crate) origin: Origin,
    pub(crate) sources: Vec<Source>,
    /// Absolute path in the image.
    pub(crate) dest: String,
    /// The destination is a folder that sources go into (it ended in a slash).
    pub(crate) into: bool,
    pub(crate) chmod: Option<Chmod>,
    pub(crate) chown: Option<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) parents: bool,
    pub(crate) link: bool,
    /// Archives among the sources are unpacked (ADD).
    pub(crate) unpack: bool,
}
