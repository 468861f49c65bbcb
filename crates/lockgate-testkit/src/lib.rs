//! For developers of Lockgate: the real binary in a world of its own.
//!
//! [`World`] is a temporary home and project; [`World::run`] runs the binary in it and keeps
//! exit code, data and talk apart. [`http`] is a client small enough to see what was received.
//! [`example`] takes an example from nothing through up, probe, no-op, edit and destroy; the
//! tests and `cargo xtask example` call the same code. [`registry`] and [`docker`]
//! start real servers, [`tls`] makes certificates and puts nginx in front of them, [`proxy`] breaks
//! what goes to them.
//!
//! [`vendor`] is a vendor of AI models that misbehaves on request, [`chat`] a client that hangs up,
//! [`ledger`] the proof that the node's ledger agrees with the vendor's log, [`disk`] a disk that
//! can be filled. [`languages`] brings the packages of Python and Node.js programs.
//!
//! It never mocks a stage: whatever it starts is the program that users run, and everything it
//! started is gone when a [`World`] is dropped.
#![expect(
    clippy::disallowed_methods,
    reason = "a developer tool measures real time and reads the real environment"
)]

pub mod browser;
pub mod chat;
pub mod disk;
pub mod docker;
pub mod example;
pub mod http;
pub mod languages;
pub mod ledger;
pub mod load;
mod process;
pub mod proxy;
pub mod registry;
pub mod tls;
pub mod vendor;
pub mod world;

pub use world::{Output, World};
