//! The `command` package: scripts as resources, with inputs and outputs of the public package.

mod files;
mod kind;
mod mask;
mod run;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::package::{Function, Kind, Package};
use crate::schema;

/// What a script gets besides its inputs.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandSettings {
    /// The whole environment it inherits; the binary passes an allow-list of its own.
    pub(crate) base_env: BTreeMap<String, String>,
    /// Folder that `dir` is relative to, and the default of `dir`.
    pub(crate) project_dir: PathBuf,
}

/// The package.
pub(crate) fn package(settings: CommandSettings) -> Package {
    let settings = Arc::new(settings);
    let command: Box<dyn Kind> = Box::new(kind::Command(Arc::clone(&settings)));
    let run: Box<dyn Function> = Box::new(kind::Run(settings));
    Package {
        schema: Arc::clone(&schema::COMMAND),
        kinds: [("command:local:Command", command)].into(),
        functions: [("command:local:run", run)].into(),
    }
}
