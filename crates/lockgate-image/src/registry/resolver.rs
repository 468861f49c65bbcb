//! Images of registries as bases and pins: resolved once, then the same for the whole run.

use std::collections::HashMap;

use async_trait::async_trait;
use lockgate_model::{Digest, ImageReference};
use parking_lot::Mutex;

use super::{Registries, RegistryError};
use crate::base::{BaseError, BaseResolver, StoreOnly};
use crate::os_arch::OsArch;
use crate::store::Store;

/// Answers remembered; a program names far fewer.
const KNOWN_MAX: usize = 10_000;

/// Resolves through registries; images of the local store and digests that are in it are found
/// there. A tag is asked for once in the life of a resolver, so that a preview and what follows
/// it see one digest even if the tag moves in between.
pub struct RegistryResolver {
    registries: Registries,
    known: Mutex<HashMap<ImageReference, Digest>>,
}

impl RegistryResolver {
    /// A resolver that has asked nothing yet.
    pub fn new(registries: Registries) -> Self {
        Self {
            registries,
            known: Mutex::default(),
        }
    }

    /// The client.
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// The digest of the index or manifest that `image` names; the same each time.
    pub async fn top_digest(&self, image: &ImageReference) -> Result<Digest, RegistryError> {
        if let Some(digest) = image.digest {
            return Ok(digest);
        }
        if let Some(digest) = self.known.lock().get(image) {
            return Ok(*digest);
        }
        let found = self.registries.resolve(image).await?;
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        // Two that ask at once get one answer.
        Ok(*known.entry(image.clone()).or_insert(found))
    }
}

impl From<RegistryError> for BaseError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::NotFound(what) => Self::NotFound(format!("{what} does not exist")),
            RegistryError::Store(error) => Self::Store(error),
            error => Self::Registry(error),
        }
    }
}

#[async_trait]
impl BaseResolver for RegistryResolver {
    async fn resolve(
        &self,
        reference: &ImageReference,
        os_arch: &OsArch,
        store: &Store,
    ) -> Result<Digest, BaseError> {
        if reference.is_local() {
            return StoreOnly.resolve(reference, os_arch, store).await;
        }
        let top = self.top_digest(reference).await?;
        self.registries
            .pull_document(reference, &top, store)
            .await?;
        let manifest = store.select(&top, os_arch)?;
        self.registries
            .pull_document(reference, &manifest, store)
            .await?;
        let parsed = store.manifest(&manifest)?;
        self.registries
            .pull_blobs(reference, &[parsed.config], store)
            .await?;
        Ok(manifest)
    }

    async fn fetch_layers(
        &self,
        reference: &ImageReference,
        manifest: &Digest,
        store: &Store,
    ) -> Result<(), BaseError> {
        if reference.is_local() {
            return StoreOnly.fetch_layers(reference, manifest, store).await;
        }
        let layers = store.manifest(manifest)?.layers;
        Ok(self
            .registries
            .pull_blobs(reference, &layers, store)
            .await?)
    }
}
