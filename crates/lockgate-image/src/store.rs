//! The local store of images: an OCI image layout (image-spec image-layout.md) whose blobs are
//! written once, verified and atomically.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use lockgate_model::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::oci::{self, Descriptor, ImageConfig, Index, Manifest};
use crate::os_arch::OsArch;

/// Largest manifest, index or configuration that is read into memory (registries cap at 4 MiB).
pub const DOCUMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed; the error names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No such blob.
    #[error("the store has no blob {0}")]
    Missing(Digest),
    /// Content does not have the digest it was announced with.
    #[error("content is {found}, expected {expected}")]
    Mismatch {
        /// What was announced.
        expected: Digest,
        /// What arrived.
        found: Digest,
    },
    /// A document is larger than a reader accepts.
    #[error("blob {digest} has {size} bytes, at most {max} are read")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The cap.
        max: u64,
    },
    /// A document is not what it should be.
    #[error("blob {digest} is not a valid {what}")]
    Malformed {
        /// The blob.
        digest: Digest,
        /// Manifest, configuration or index.
        what: &'static str,
        /// The parser's word.
        #[source]
        source: serde_json::Error,
    },
    /// The blob is another kind of document, or its parts contradict each other.
    #[error("blob {digest} is no usable image: {reason}")]
    NotAnImage {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        reason: String,
    },
}

/// A finished blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its content name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A manifest with its configuration, both parsed and consistent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Digest of the manifest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration; it has one diffID per layer of the manifest.
    pub config: ImageConfig,
}

/// A store on disk. Clones share one folder; any number of processes may use it at once.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<Path>,
}

impl Store {
    /// Opens the store at `root`, creating the folder and its OCI layout files if needed.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(root.join("blobs/sha256"))?;
        fs::create_dir_all(root.join("tmp"))?;
        let store = Self { root: root.into() };
        for (name, text) in [
            ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
            ("index.json", r#"{"schemaVersion":2,"manifests":[]}"#),
        ] {
            let path = root.join(name);
            if !path.exists() {
                write_atomically(&path, text.as_bytes())?;
            }
        }
        Ok(store)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob is or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether the blob is present.
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Opens a blob for streaming. [`io::ErrorKind::InvalidData`] at its end means that the
    /// content does not have the digest: consumers must read to the end before they trust it.
    pub fn reader(&self, digest: &Digest) -> Result<BlobReader, StoreError> {
        let file = match fs::File::open(self.blob_path(digest)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing(*digest));
            }
            other => other?,
        };
        Ok(BlobReader {
            file,
            hasher: Sha256::new(),
            expected: *digest,
        })
    }

    /// A small blob, whole and verified; at most [`DOCUMENT_BYTES_MAX`] bytes.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let reader = self.reader(digest)?;
        let size = reader.file.metadata()?.len();
        if size > DOCUMENT_BYTES_MAX {
            return Err(StoreError::TooLarge {
                digest: *digest,
                size,
                max: DOCUMENT_BYTES_MAX,
            });
        }
        let mut bytes = Vec::new();
        reader
            .file
            .take(DOCUMENT_BYTES_MAX)
            .read_to_end(&mut bytes)?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(StoreError::Mismatch {
                expected: *digest,
                found,
            });
        }
        Ok(bytes)
    }

    /// Starts a blob. Nothing is visible before [`BlobWriter::finish`].
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        Ok(BlobWriter {
            file: NamedTempFile::new_in(self.root.join("tmp"))?,
            hasher: Sha256::new(),
            size: 0,
            store: self.clone(),
        })
    }

    /// Writes a whole small blob.
    pub fn write_blob(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        let mut writer = self.writer()?;
        writer.write_all(bytes)?;
        writer.finish()
    }

    /// The manifest with this digest.
    pub fn manifest(&self, digest: &Digest) -> Result<Manifest, StoreError> {
        parse(digest, "image manifest", &self.read_blob(digest)?)
    }

    /// The index with this digest; `None` if it is a manifest.
    pub fn index(&self, digest: &Digest) -> Result<Option<Index>, StoreError> {
        let bytes = self.read_blob(digest)?;
        if !is_index(digest, &bytes)? {
            return Ok(None);
        }
        parse(digest, "image index", &bytes).map(Some)
    }

    /// The image with this manifest digest.
    pub fn image(&self, manifest: &Digest) -> Result<Image, StoreError> {
        let parsed = self.manifest(manifest)?;
        let config_digest = parsed.config.digest;
        let config: ImageConfig = parse(
            &config_digest,
            "image configuration",
            &self.read_blob(&config_digest)?,
        )?;
        if config.rootfs.diff_ids.len() != parsed.layers.len() {
            return Err(StoreError::NotAnImage {
                digest: *manifest,
                reason: format!(
                    "{} layers but {} diffIDs",
                    parsed.layers.len(),
                    config.rootfs.diff_ids.len()
                ),
            });
        }
        Ok(Image {
            digest: *manifest,
            manifest: parsed,
            config,
        })
    }

    /// The manifest digest for `os_arch`: `digest` itself if it names a manifest, the fitting
    /// entry if it names an index.
    pub fn select(&self, digest: &Digest, os_arch: &OsArch) -> Result<Digest, StoreError> {
        let bytes = self.read_blob(digest)?;
        select_manifest(digest, &bytes, os_arch)
    }
}

/// The manifest digest for `os_arch` in the document `bytes`, which has `digest`.
pub fn select_manifest(
    digest: &Digest,
    bytes: &[u8],
    os_arch: &OsArch,
) -> Result<Digest, StoreError> {
    if !is_index(digest, bytes)? {
        return Ok(*digest);
    }
    let index: Index = parse(digest, "image index", bytes)?;
    let offered = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| os_arch.accepts(p));
    let found = index
        .manifests
        .iter()
        .find(|d| d.platform.as_ref() == Some(os_arch))
        .or_else(|| index.manifests.iter().find(offered));
    found.map(|d| d.digest).ok_or_else(|| {
        let offers: Vec<String> = index
            .manifests
            .iter()
            .filter_map(|d| d.platform.as_ref().map(OsArch::to_string))
            .collect();
        StoreError::NotAnImage {
            digest: *digest,
            reason: format!("it offers {}, not {os_arch}", offers.join(", ")),
        }
    })
}

/// Media types are missing in old documents, so the content decides.
fn is_index(digest: &Digest, bytes: &[u8]) -> Result<bool, StoreError> {
    #[derive(serde::Deserialize)]
    struct Kind {
        manifests: Option<serde::de::IgnoredAny>,
    }
    parse(digest, "image manifest", bytes).map(|kind: Kind| kind.manifests.is_some())
}

fn parse<T: serde::de::DeserializeOwned>(
    digest: &Digest,
    what: &'static str,
    bytes: &[u8],
) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::Malformed {
        digest: *digest,
        what,
        source,
    })
}

/// Streams a blob and checks its digest at the end.
#[derive(Debug)]
pub struct BlobReader {
    file: fs::File,
    hasher: Sha256,
    expected: Digest,
}

impl BlobReader {
    /// Bytes of the blob.
    pub(crate) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        if n > 0 {
            self.hasher.update(&buffer[..n]);
        } else if !buffer.is_empty()
            && Digest::from_bytes(self.hasher.clone().finalize().into()) != self.expected
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("blob {} is damaged in the store", self.expected),
            ));
        }
        Ok(n)
    }
}

/// Receives the bytes of one blob. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    file: NamedTempFile,
    hasher: Sha256,
    size: u64,
    store: Store,
}

impl BlobWriter {
    /// Makes the blob visible under the digest of what was written.
    pub fn finish(self) -> Result<Blob, StoreError> {
        let blob = Blob {
            digest: Digest::from_bytes(self.hasher.finalize().into()),
            size: self.size,
        };
        let path = self.store.blob_path(&blob.digest);
        if !path.is_file() {
            persist(self.file, &path)?;
        }
        Ok(blob)
    }

    /// Like [`Self::finish`], but refuses content that is not `expected`.
    pub fn finish_as(self, expected: &Digest) -> Result<Blob, StoreError> {
        let found = Digest::from_bytes(self.hasher.clone().finalize().into());
        if found != *expected {
            return Err(StoreError::Mismatch {
                expected: *expected,
                found,
            });
        }
        self.finish()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a file so that after a crash either the old or the new content is there.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    persist(file, path)
}

/// fsync → rename → fsync of the folder.
fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The descriptor of a finished blob.
pub(crate) fn descriptor(blob: Blob, media_type: &str) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: blob.digest,
        size: blob.size,
        platform: None,
        annotations: std::collections::BTreeMap::new(),
    }
}

/// Writes configuration and manifest of an image whose layers are in the store.
pub(crate) fn write_image(
    store: &Store,
    config: &ImageConfig,
    layers: Vec<Descriptor>,
) -> Result<Image, StoreError> {
    let malformed = |source| StoreError::Malformed {
        digest: Digest::of(b""),
        what: "image document",
        source,
    };
    let config_blob = store.write_blob(&serde_json::to_vec(config).map_err(malformed)?)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(oci::MANIFEST.to_owned()),
        config: descriptor(config_blob, oci::CONFIG),
        layers,
        annotations: std::collections::BTreeMap::new(),
    };
    let blob = store.write_blob(&serde_json::to_vec(&manifest).map_err(malformed)?)?;
    Ok(Image {
        digest: blob.digest,
        manifest,
        config: config.clone(),
    })
}
