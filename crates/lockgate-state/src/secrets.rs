//! Encryption of secret values at rest.
//!
//! A value is stored as a *cell*, `v1:<base64 nonce>:<base64 AES-256-GCM ciphertext and tag>`
//! without associated data, the form of the passphrase manager of Pulumi (engine guide, section
//! 13.3). The key comes from a passphrase or from a key file of this machine.

mod cell;
mod keyring;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use lockgate_diag::Secret;
use lockgate_model::Rng;
use parking_lot::Mutex;

pub use keyring::Keyring;

use cell::Key;

/// The word whose cell proves that a key is the right one.
const CHECK_WORD: &str = "pulumi";

/// Ciphertexts remembered per manager, so that unchanged secrets keep theirs. Beyond it a secret
/// is encrypted anew at the next write, which costs a noisy state diff and nothing else.
const REMEMBERED_MAX: usize = 200_000;

/// Why a secret cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The check word does not decrypt.
    #[error("the passphrase is wrong: it does not open the secrets of this stack")]
    WrongPassphrase,
    /// The stack needs a passphrase and none was given.
    #[error("the secrets of this stack need a passphrase and none is set")]
    NoPassphrase,
    /// The check word does not decrypt with the key file.
    #[error("the key `{0}` is not the one this stack was encrypted with")]
    WrongKey(String),
    /// The key file is missing or unreadable.
    #[error("read the key of the stack from `{}`", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key file holds no key.
    #[error("`{}` holds no key of 32 bytes", .0.display())]
    MalformedKey(PathBuf),
    /// The provider state is not in the known form.
    #[error("the secrets provider state of the stack is malformed, expected {0}")]
    MalformedState(&'static str),
    /// A stored value is not a cell.
    #[error("a stored secret is malformed, expected `v1:<nonce>:<ciphertext>`")]
    MalformedCell,
    /// A stored value does not decrypt under the right key.
    #[error("a stored secret does not decrypt: it was altered, or belongs to another stack")]
    Altered,
    /// What a stored value decrypts to is no property value.
    #[error("a stored secret decrypts to text that is no JSON value")]
    NotAValue,
    /// Secrets of a service that Lockgate has no access to.
    #[error("secrets of the provider `{0}` cannot be read, expected `passphrase` or `local`")]
    UnknownProvider(String),
}

impl SecretsError {
    /// The next step, if there is one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::WrongPassphrase | Self::NoPassphrase => {
                "set `LOCKGATE_PASSPHRASE` or `PULUMI_CONFIG_PASSPHRASE` to the passphrase the stack was created with"
            }
            Self::WrongKey(_) | Self::KeyFile { .. } | Self::MalformedKey(_) => {
                "copy the key file from the machine that created the stack"
            }
            Self::UnknownProvider(_) => {
                "export the stack with `pulumi stack export --show-secrets` and import that file"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Which manager encrypts a stack, and what is public of it. Stored in the state as
/// `secrets_providers` and, for the passphrase, in the stack file as `encryptionsalt`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretsConfig {
    /// Key derived from a passphrase.
    Passphrase {
        /// `v1:<base64 salt>:<cell of the check word>`.
        salt: String,
    },
    /// Random key in a file of this machine.
    Local {
        /// Name of the key file.
        key: String,
        /// Cell of the check word; empty when only the key's name is known.
        check: String,
    },
}

/// How a stack file names its manager.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StackFileSecrets {
    /// `secretsprovider`.
    pub provider: Option<String>,
    /// `encryptionsalt`.
    pub salt: Option<String>,
}

/// Prefix of `secretsprovider` in a stack file that names a key of this machine.
const LOCAL_SCHEME: &str = "local://";

impl SecretsConfig {
    /// What the stack file says of the manager.
    pub fn to_stack_file(&self) -> StackFileSecrets {
        match self {
            Self::Passphrase { salt } => StackFileSecrets {
                provider: None,
                salt: Some(salt.clone()),
            },
            Self::Local { key, .. } => StackFileSecrets {
                provider: Some(format!("{LOCAL_SCHEME}{key}")),
                salt: None,
            },
        }
    }

    /// The manager a stack file names; `None` when it names none. `secretsprovider` may also be
    /// `passphrase`, as the original writes it.
    pub fn from_stack_file(file: &StackFileSecrets) -> Result<Option<Self>, SecretsError> {
        match (file.provider.as_deref(), &file.salt) {
            (None | Some("" | "passphrase" | "default"), Some(salt)) => {
                Ok(Some(Self::Passphrase { salt: salt.clone() }))
            }
            (None | Some("" | "passphrase" | "default"), None) => Ok(None),
            (Some(provider), _) => match provider.strip_prefix(LOCAL_SCHEME) {
                Some(key) => Ok(Some(Self::Local {
                    key: key.to_owned(),
                    check: String::new(),
                })),
                None => Err(SecretsError::UnknownProvider(provider.to_owned())),
            },
        }
    }
}

/// Where the key of a manager comes from.
enum KeySource {
    /// `None` fails at first use, so that stacks without secrets need no passphrase.
    Passphrase(Option<Secret<String>>),
    File(PathBuf),
}

/// Encrypts and decrypts the secrets of a stack. Cheap to clone; clones share key and memory.
///
/// The key is derived at first use and once, because the 1,000,000 rounds of a passphrase cost
/// about 0.4 s of CPU that stacks without secrets need not pay.
#[derive(Clone)]
pub struct SecretsManager {
    inner: Arc<Inner>,
}

struct Inner {
    config: SecretsConfig,
    source: KeySource,
    rng: Arc<dyn Rng>,
    /// Guards derivation too: concurrent first uses must not derive twice.
    key: Mutex<Option<Key>>,
    /// Plaintext (hashed together with its place) to cell.
    remembered: Mutex<HashMap<[u8; 32], Arc<str>>>,
    /// Keys the hashes of `remembered`, so that a memory dump is no dictionary of secrets.
    memory_key: [u8; 32],
}

impl std::fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SecretsManager")
            .field(&self.inner.config)
            .finish()
    }
}

impl SecretsManager {
    fn new(config: SecretsConfig, source: KeySource, key: Option<Key>, rng: Arc<dyn Rng>) -> Self {
        let mut memory_key = [0; 32];
        rng.fill(&mut memory_key);
        Self {
            inner: Arc::new(Inner {
                config,
                source,
                rng,
                key: Mutex::new(key),
                remembered: Mutex::new(HashMap::new()),
                memory_key,
            }),
        }
    }

    /// What is public of this manager.
    pub fn config(&self) -> &SecretsConfig {
        &self.inner.config
    }

    /// Derives or reads the key now and checks that it is the right one.
    pub fn unlock(&self) -> Result<(), SecretsError> {
        self.with_key(|_| ())
    }

    /// The cell of `plaintext`, with a fresh nonce. For a `secure:` value of a stack file,
    /// `plaintext` is the text itself; for a property it is the JSON text of the value.
    pub fn encrypt(&self, plaintext: &str) -> Result<String, SecretsError> {
        self.with_key(|key| key.seal(plaintext, self.inner.rng.as_ref()))
    }

    /// The plaintext of a cell.
    pub fn decrypt(&self, cell: &str) -> Result<Secret<String>, SecretsError> {
        self.with_key(|key| key.open(cell))?
    }

    /// As [`Self::encrypt`], but a plaintext that was remembered for `place` keeps its cell.
    ///
    /// The place is part of the memory so that two properties with equal secrets do not show
    /// that they are equal.
    pub(crate) fn encrypt_at(
        &self,
        place: &Place<'_>,
        plaintext: &str,
    ) -> Result<String, SecretsError> {
        let id = self.memory_id(place, plaintext);
        if let Some(cell) = self.inner.remembered.lock().get(&id) {
            return Ok(cell.as_ref().to_owned());
        }
        let cell = self.encrypt(plaintext)?;
        self.store(id, &cell);
        Ok(cell)
    }

    /// Remembers the cell of a plaintext that was read from the state.
    pub(crate) fn remember(&self, place: &Place<'_>, plaintext: &str, cell: &str) {
        self.store(self.memory_id(place, plaintext), cell);
    }

    fn store(&self, id: [u8; 32], cell: &str) {
        let mut remembered = self.inner.remembered.lock();
        if remembered.len() < REMEMBERED_MAX {
            remembered.insert(id, cell.into());
        }
    }

    fn memory_id(&self, place: &Place<'_>, plaintext: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.inner.memory_key);
        for part in [place.urn, place.section, place.property, plaintext] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().into()
    }

    fn with_key<T>(&self, then: impl FnOnce(&Key) -> T) -> Result<T, SecretsError> {
        let mut slot = self.inner.key.lock();
        if slot.is_none() {
            *slot = Some(self.open_key()?);
        }
        let key = slot.clone();
        drop(slot);
        // The lock is not held while encrypting: parallel steps encrypt in parallel.
        match &key {
            Some(key) => Ok(then(key)),
            None => Err(SecretsError::MalformedState("a key")),
        }
    }

    fn open_key(&self) -> Result<Key, SecretsError> {
        match (&self.inner.config, &self.inner.source) {
            (SecretsConfig::Passphrase { salt }, KeySource::Passphrase(Some(passphrase))) => {
                cell::open_passphrase(salt, passphrase)
            }
            (SecretsConfig::Local { key, check }, KeySource::File(path)) => {
                let opened = keyring::read_key(path)?;
                if !check.is_empty() && !opened.proves(check) {
                    return Err(SecretsError::WrongKey(key.clone()));
                }
                Ok(opened)
            }
            _ => Err(SecretsError::NoPassphrase),
        }
    }
}

/// Where in a state a secret stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    /// The resource.
    pub(crate) urn: &'a str,
    /// `inputs`, `outputs`, or another key of the resource.
    pub(crate) section: &'a str,
    /// The property, without what is inside it.
    pub(crate) property: &'a str,
}

#[cfg(test)]
mod tests;
