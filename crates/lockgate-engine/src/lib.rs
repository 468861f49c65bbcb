//! The deployment engine: what a program wants, compared with what a stack remembers, becomes
//! steps; steps call providers; every step is journaled before and after.
//!
//! In: a [`Source`] that registers resources, a base snapshot, [`Providers`], a [`Journal`], an
//! [`EventSink`]. Out: journal entries, events, and the outcome of the run.
//! Never: files, sockets, the wall clock or randomness of its own. It knows nothing of YAML,
//! protobuf or state files.
//!
//! Start reading at [`run()`]: its phases. Then `register` (the life of one registration),
//! `decide` (what an old resource needs), `exec` (one provider call between two journal records)
//! and `deletes`. [`journal::replay()`] and [`integrity::check`] say what the journal means.
#![deny(missing_docs)]

pub mod run;

pub mod event;
pub mod journal;
pub mod provider;
pub mod source;

mod engine;
mod goal;
mod identity;
mod register;

mod decide;
mod steps;

mod cascade;
mod deletes;
mod exec;
mod import;
mod monitor;
mod pending;
mod recorder;
mod refresh;
mod registry;
mod show;
mod targets;

pub mod diff;
pub mod edit;
pub mod integrity;
pub mod path;
pub mod plan;

mod references;

/// Patterns of URNs, as targets are written.
pub mod pattern {
    pub use crate::targets::matches;
}

pub use event::{EngineEvent, EventSink};
pub use journal::{Durability, Journal, JournalError};
pub use plan::Plan;
pub use provider::{Provider, ProviderError, Providers};
pub use registry::UNKNOWN_ID;
pub use run::{DeleteGuard, Import, Interrupts, Operation, Options, RunOutcome, RunRequest, run};
pub use source::{Monitor, Source};
