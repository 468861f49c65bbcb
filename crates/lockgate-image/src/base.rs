//! Where base images come from. The registry client implements [`BaseResolver`]; images of an OCI
//! layout folder and of the local store are found without it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fs_err as fs;
use lockgate_model::{Digest, ImageReference};

use crate::oci::{Index, Manifest};
use crate::os_arch::OsArch;
use crate::registry::RegistryError;
use crate::store::{DOCUMENT_BYTES_MAX, Store, StoreError, select_manifest};

/// Prefix of a base that is a folder in OCI image layout.
const LAYOUT_PREFIX: &str = "oci-layout:";
/// Annotation of a tag in a layout's index (OCI image-spec annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why a base image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The reference names nothing.
    #[error("{0}")]
    NotFound(String),
    /// Fetching failed; another try may succeed.
    #[error("{operation}")]
    Fetch {
        /// What was being done, with its subject.
        operation: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A registry failed; another try may succeed.
    #[error(transparent)]
    Registry(RegistryError),
    /// The store failed or the image is malformed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Resolves and fetches images of registries.
#[async_trait]
pub trait BaseResolver: Send + Sync {
    /// The manifest digest of `reference` for `os_arch`. On return the manifest and its
    /// configuration are in `store`; layers need not be.
    async fn resolve(
        &self,
        reference: &ImageReference,
        os_arch: &OsArch,
        store: &Store,
    ) -> Result<Digest, BaseError>;

    /// Brings all layers of `manifest` into `store`.
    async fn fetch_layers(
        &self,
        reference: &ImageReference,
        manifest: &Digest,
        store: &Store,
    ) -> Result<(), BaseError>;
}

/// Finds only images that are in the store already, by digest.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreOnly;

#[async_trait]
impl BaseResolver for StoreOnly {
    async fn resolve(
        &self,
        reference: &ImageReference,
        os_arch: &OsArch,
        store: &Store,
    ) -> Result<Digest, BaseError> {
        match reference.digest {
            Some(digest) if store.has(&digest) => Ok(store.select(&digest, os_arch)?),
            _ => Err(BaseError::NotFound(format!(
                "{reference} is not in the local store and no registry is set up"
            ))),
        }
    }

    async fn fetch_layers(
        &self,
        reference: &ImageReference,
        manifest: &Digest,
        store: &Store,
    ) -> Result<(), BaseError> {
        let image = store.image(manifest)?;
        match image.manifest.layers.iter().find(|l| !store.has(&l.digest)) {
            Some(layer) => Err(BaseError::NotFound(format!(
                "layer {} of {reference} is not in the local store",
                layer.digest
            ))),
            None => Ok(()),
        }
    }
}

/// A base as written, split by where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BaseSource {
    Layout {
        folder: PathBuf,
        tag: Option<String>,
    },
    Reference(ImageReference),
}

impl BaseSource {
    /// Reads `oci-layout:/folder[:tag]` or an image reference; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix(LAYOUT_PREFIX) else {
            return ImageReference::parse(text)
                .map(Self::Reference)
                .map_err(|e| e.to_string());
        };
        let (folder, tag) = match rest
            .rsplit_once([':', '@'])
            .filter(|(_, tag)| !tag.contains('/'))
        {
            // `@sha256:…` splits at its last colon.
            Some((folder, hex)) if folder.ends_with("@sha256") => (
                folder.trim_end_matches("@sha256"),
                Some(format!("sha256:{hex}")),
            ),
            Some((folder, tag)) => (folder, Some(tag.to_owned())),
            None => (rest, None),
        };
        if !folder.starts_with('/') {
            return Err(format!("the folder of `{text}` must be an absolute path"));
        }
        Ok(Self::Layout {
            folder: folder.into(),
            tag,
        })
    }
}

/// Copies an image of a layout folder into the store, verified; gives its manifest digest.
pub(crate) fn import_layout(
    folder: &Path,
    tag: Option<&str>,
    os_arch: &OsArch,
    store: &Store,
) -> Result<Digest, BaseError> {
    let text = read_document(&folder.join("index.json"))?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| BaseError::Fetch {
        operation: format!("read the index of {}", folder.display()),
        source: Box::new(e),
    })?;
    let entry = match tag {
        None => match index.manifests.as_slice() {
            [only] => Some(only),
            entries => {
                return Err(BaseError::NotFound(format!(
                    "{} holds {} images; name one with `:tag`",
                    folder.display(),
                    entries.len()
                )));
            }
        },
        Some(tag) => index.manifests.iter().find(|d| {
            d.annotations.get(REF_NAME).is_some_and(|n| n == tag) || d.digest.to_string() == tag
        }),
    };
    let entry = entry.ok_or_else(|| {
        BaseError::NotFound(format!(
            "{} has no image `{}`",
            folder.display(),
            tag.unwrap_or("")
        ))
    })?;
    let blob = |digest: &Digest| folder.join("blobs/sha256").join(digest.hex());
    let top = read_document(&blob(&entry.digest))?;
    let manifest_digest = select_manifest(&entry.digest, &top, os_arch)?;
    copy_blob(&blob(&manifest_digest), &manifest_digest, store)?;
    let manifest: Manifest =
        serde_json::from_slice(&store.read_blob(&manifest_digest)?).map_err(|source| {
            StoreError::Malformed {
                digest: manifest_digest,
                what: "image manifest",
                source,
            }
        })?;
    for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
        copy_blob(&blob(&descriptor.digest), &descriptor.digest, store)?;
    }
    Ok(manifest_digest)
}

fn read_document(path: &Path) -> Result<Vec<u8>, BaseError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(StoreError::Io)?;
    file.take(DOCUMENT_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(StoreError::Io)?;
    Ok(bytes)
}

fn copy_blob(path: &Path, digest: &Digest, store: &Store) -> Result<(), StoreError> {
    if store.has(digest) {
        return Ok(());
    }
    let mut writer = store.writer()?;
    std::io::copy(&mut fs::File::open(path)?, &mut writer)?;
    writer.finish_as(digest).map(drop)
}
