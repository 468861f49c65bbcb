//! Plain, checked types shared by all of Lockgate.
//!
//! In: values that a rim crate has parsed (YAML, JSON, protobuf, SQL). Out: the same values,
//! with their rules enforced by constructors. Nothing here does I/O, is async, or derives a wire
//! format: wire structs live in the crate that speaks the wire.
//!
//! Start reading at [`value::Value`] (what resources are made of), [`resource::ResourceState`]
//! (what a stack remembers), [`journal::JournalEntry`] (how it gets there) and
//! [`gateway::GatewaySpec`] (what a stack wants of the gateway).
#![deny(missing_docs)]

pub mod ai;
pub mod gateway;
pub mod image;
pub mod journal;
pub mod record;
pub mod resource;
pub mod schema;
pub mod service;
pub mod time;
pub mod tls;
pub mod url;
pub mod urn;
pub mod value;

pub use image::{Digest, ImageReference};
pub use journal::{EntryId, JournalEntry, StepOp};
pub use resource::{PendingOperation, ResourceState, Snapshot};
pub use service::ServiceId;
pub use time::{Clock, Rng, Timestamp};
pub use url::Origin;
pub use urn::Urn;
pub use value::{PropertyMap, Value};
