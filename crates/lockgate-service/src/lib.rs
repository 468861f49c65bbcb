//! Platforms: where services run from images.
//!
//! In: a [`InstanceSpec`] (one instance of a service) and the store that holds its image.
//! Out: a running [`Instance`] with the endpoint that reaches it, its logs, its health, and how
//! it ended. Today there is one platform, [`LocalPlatform`]: rootless name spaces without Docker.
//! Never: rollouts, restarts or routes; whoever calls decides those.
//!
//! Instances outlive the process that started them. A restarted node finds them by
//! [`Platform::adopt`]. Start reading at [`Platform`], then `sandbox.rs` for what runs inside.
#![deny(missing_docs)]

mod platform;
mod sandbox;

pub mod doctor;
pub mod image;
pub mod local;

pub use doctor::{Check, DoctorReport, Verdict, doctor};
pub use image::{IdRange, ImageSource, LocalImage, StoreImages};
pub use local::{LocalPlatform, LocalSettings, RootMode};
pub use platform::{
    Adopted, AdoptedState, ExitCause, ExitReport, Instance, InstanceSpec, LogChunk, LogCursor,
    LogFrom, LogLine, LogStream, Platform, ServiceError,
};
pub use sandbox::sandbox_main;
