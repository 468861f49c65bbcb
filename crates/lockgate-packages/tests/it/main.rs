//! The packages through the engine's provider traits, with a fake node and real scripts.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test by panicking"
)]

mod command;
mod lockgate;
mod pulumi;
mod random;
mod schema;
mod support;
