//! Project, stack, node and lock files to checked, typed data and back.
//!
//! In: the text of `Pulumi.yaml`, `Pulumi.<stack>.yaml`, `lockgate.toml`, `lockgate.lock`.
//! Out: [`project::Project`], [`stack::StackConfig`], [`settings::NodeSettings`], [`lock::Lock`],
//! each with every mistake of the file at once, at its place. Stack files are edited at spans, so
//! that comments and layout survive; files are written whole or not at all.
//! Never: environment variables, secrets in clear, network.
//!
//! Start reading at [`yaml::parse`], which everything but the settings stands on.
#![deny(missing_docs)]

pub mod lock;
pub mod project;
pub mod settings;
pub mod stack;
pub mod version;
pub mod yaml;

mod write;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use lock::Lock;
pub use project::{Project, find_project, load_project};
pub use settings::NodeSettings;
pub use stack::{ConfigValue, StackConfig};
pub use write::write_atomic;
