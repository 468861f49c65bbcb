//! The deployment engine: what a program wants, compared with what a stack remembers, becomes
//! steps; steps call providers; every step is journaled before and after.
//!
//! In: a [`Source`] that registers resources, a base snapshot, [`Providers`], a [`Journal`], an
//! [`EventSink`]. Out: journal entries, events, and the outcome of the run.
//! Never: files, sockets, the wall clock or randomness of its own. It knows nothing of YAML,
//! protobuf or state files.
#![deny(missing_docs)]

pub mod event;
pub mod journal;
pub mod provider;
pub mod source;

pub use event::{EngineEvent, EventSink};
pub use journal::{Durability, Journal, JournalError};
pub use provider::{Provider, ProviderError, Providers};
pub use source::{Monitor, Source};
