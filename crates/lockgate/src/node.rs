//! The node: found or started by a command, or run in the foreground.

pub(crate) mod adapter;
pub(crate) mod connect;
pub(crate) mod paths;
pub(crate) mod serve;
