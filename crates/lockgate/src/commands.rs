//! One file a command.

pub(crate) mod ai;
pub(crate) mod cancel;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod console;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod import;
pub(crate) mod install;
pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod node;
pub(crate) mod pin;
pub(crate) mod run;
pub(crate) mod stack;
pub(crate) mod state;
pub(crate) mod version;
