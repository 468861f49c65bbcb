//! The node's root key: one file of 32 bytes, and the keys derived from it by purpose.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hmac::{Hmac, Mac as _};
use lockgate_diag::Secret;
use lockgate_model::Rng;
use sha2::Sha256;

/// The root key of a node. Keys for single purposes are derived from it, so that none of them
/// tells anything about another.
#[derive(Clone)]
pub struct NodeKey(Secret<[u8; 32]>);

/// Why the key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeKeyError {
    /// Reading or writing failed; the source names the path.
    #[error("read or create the node key")]
    Io(#[source] io::Error),
    /// Others may read it.
    #[error("the node key {0} is readable by others; run `chmod 600` on it")]
    Exposed(String),
    /// Not 32 bytes.
    #[error("the node key {0} is damaged: expected 32 bytes")]
    Damaged(String),
}

impl NodeKey {
    /// Wraps 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Reads the key file, or creates it with mode 0600. A new file is durable before this
    /// returns: what is sealed under a lost key is lost.
    pub fn load_or_create(path: &Path, rng: &dyn Rng) -> Result<Self, NodeKeyError> {
        match fs_err::metadata(path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                Err(NodeKeyError::Exposed(path.display().to_string()))
            }
            Ok(_) => {
                let bytes = fs_err::read(path).map_err(NodeKeyError::Io)?;
                <[u8; 32]>::try_from(bytes)
                    .map(Self::new)
                    .map_err(|_| NodeKeyError::Damaged(path.display().to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0; 32];
                rng.fill(&mut bytes);
                create(path, &bytes).map_err(NodeKeyError::Io)?;
                Ok(Self::new(bytes))
            }
            Err(error) => Err(NodeKeyError::Io(error)),
        }
    }

    /// The key under which API keys are hashed; the gateway needs the same one.
    pub fn hash_key(&self) -> Secret<[u8; 32]> {
        Secret::new(self.derive("api key hash"))
    }

    /// The hash under which an API key is kept: HMAC-SHA-256 of its whole text under
    /// [`NodeKey::hash_key`].
    pub fn hash_api_key(&self, text: &Secret<String>) -> [u8; 32] {
        hmac(self.hash_key().expose(), &[text.expose().as_bytes()])
    }

    pub(crate) fn seal_key(&self) -> [u8; 32] {
        self.derive("secret at rest")
    }

    pub(crate) fn audit_key(&self) -> [u8; 32] {
        self.derive("audit chain")
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        hmac(self.0.expose(), &[b"lockgate v1 ", purpose.as_bytes()])
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.0)
    }
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(crate) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104)");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn create(path: &Path, bytes: &[u8; 32]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    fs_err::create_dir_all(folder)?;
    // Temporary files are created with mode 0600; the rename refuses to replace, so that two
    // nodes starting at once cannot end up with two keys.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|e| e.error)?;
    fs_err::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
