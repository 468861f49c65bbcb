//! Tests of the image crate through its public API, with real folders and real stores.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod archive;
mod build;
mod copy;
mod engine;
mod gate;
mod golden;
mod hostile;
mod parity;
mod registry;
mod support;
