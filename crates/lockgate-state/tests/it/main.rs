//! The state backend against real folders and real processes.
//!
//! Some tests start this program again with [`support::CHILD`] set: the test of the same name
//! then plays the other process.
#![expect(
    clippy::unwrap_used,
    reason = "a helper whose world cannot be set up fails the test that called it"
)]

mod backend;
mod crash;
mod journal;
mod lease;
mod power;
mod secrecy;
mod support;
