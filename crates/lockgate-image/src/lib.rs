//! Images: build, store, resolve, unpack and gate.
//!
//! In: a [`BuildRequest`] (context, Dockerfile, arguments, platform) or the digest of an image in
//! the [`Store`]. Out: an image in the store, named by its digest, and reports about it.
//!
//! The digest of a build is known before it happens: [`Builder::plan`] names every input in a
//! [`BuildKey`], and a known key means a known digest. Images are assembled in process, layer by
//! layer, with bytes that depend on nothing but the inputs; stages with RUN go to an [`Engine`] and are
//! refused with [`BuildError::NeedsEngine`] where there is none.
//!
//! This crate knows no stacks and never executes anything; it never reads the wall clock (a
//! `Clock` is passed in) except to compare it with file times (`context::stat_cache`).
//! Start reading at [`build`] and [`store`]; [`registry`] speaks to registries.

mod base;
mod context;
mod dockerfile;
mod engine;
mod ignore;
mod inflate;
mod key;
mod layer;
mod pattern;
mod recipe;
mod rootfs;
mod tar;

pub mod build;
pub mod gate;
pub mod oci;
pub mod os_arch;
pub mod registry;
pub mod store;
pub mod unpack;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use base::{BaseError, BaseResolver, StoreOnly};
pub use build::{
    BuildError, BuildPlan, BuildRequest, Builder, Changes, DockerfileSource, ImageRecord, Progress,
    ProgressEvent, Silent,
};
pub use context::{Context, ContextFile, FileContent};
pub use engine::{Engine, EngineError};
pub use key::BuildKey;
pub use layer::{LAYER_FORMAT, Layer};
pub use os_arch::OsArch;
pub use registry::{Registries, RegistryError, RegistryResolver, RegistrySettings};
pub use store::{Image, Store, StoreError};
pub use tar::TarError;
pub use unpack::{Owners, UnpackError, unpack};
