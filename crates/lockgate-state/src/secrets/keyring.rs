//! The keys this process can reach: the folder of key files, and the passphrase it was given.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lockgate_diag::Secret;
use lockgate_model::Rng;
use parking_lot::Mutex;

use super::cell::{self, Key};
use super::{CHECK_WORD, KeySource, SecretsConfig, SecretsError, SecretsManager};
use crate::error::StateError;
use crate::files::{Disk, FaultHook, KEY};

/// Opens the secrets manager that a stack names. One per process, so that each key is derived
/// once.
pub struct Keyring {
    folder: PathBuf,
    passphrase: Option<Secret<String>>,
    rng: Arc<dyn Rng>,
    disk: Disk,
    /// Managers by their public part; bounded by the stacks one process touches.
    open: Mutex<HashMap<SecretsConfig, SecretsManager>>,
}

impl Keyring {
    /// Keys live in `<home>/keys`. `passphrase` is what the environment of the command holds.
    pub fn new(home: &Path, passphrase: Option<Secret<String>>, rng: Arc<dyn Rng>) -> Self {
        Self {
            folder: home.join("keys"),
            passphrase,
            rng,
            disk: Disk::default(),
            open: Mutex::new(HashMap::new()),
        }
    }

    /// Calls `hook` at the fault points of key files; for crash tests.
    #[must_use]
    pub fn with_fault_hook(mut self, hook: Option<FaultHook>) -> Self {
        self.disk = Disk::new(hook);
        self
    }

    /// The manager of `config`. The key itself is read or derived at first use, so that a stack
    /// whose secrets are not touched opens without passphrase.
    pub fn open(&self, config: &SecretsConfig) -> Result<SecretsManager, SecretsError> {
        if let Some(manager) = self.open.lock().get(config) {
            return Ok(manager.clone());
        }
        let source = match config {
            SecretsConfig::Passphrase { .. } => KeySource::Passphrase(self.passphrase.clone()),
            SecretsConfig::Local { key, .. } => KeySource::File(self.key_path(key)?),
        };
        let manager = SecretsManager::new(config.clone(), source, None, Arc::clone(&self.rng));
        Ok(self.keep(manager))
    }

    /// A manager with a new random key, written to the folder of keys with mode 0600.
    pub fn create_local(&self) -> Result<SecretsManager, StateError> {
        let mut id = [0; 16];
        let mut bytes = [0; 32];
        self.rng.fill(&mut id);
        self.rng.fill(&mut bytes);
        let id = hex::encode(id);
        let path = self.key_path(&id)?;
        self.disk.create_folder(&self.folder)?;
        let text = format!("{}\n", STANDARD.encode(bytes));
        self.disk.write_file(&KEY, &path, text.as_bytes())?;
        let key = Key::new(&bytes);
        let config = SecretsConfig::Local {
            key: id,
            check: key.seal(CHECK_WORD, self.rng.as_ref()),
        };
        let rng = Arc::clone(&self.rng);
        let manager = SecretsManager::new(config, KeySource::File(path), Some(key), rng);
        Ok(self.keep(manager))
    }

    /// A manager with a new salt for the passphrase of this process.
    pub fn create_passphrase(&self) -> Result<SecretsManager, SecretsError> {
        let passphrase = self.passphrase.clone().ok_or(SecretsError::NoPassphrase)?;
        let (salt, key) = cell::new_passphrase(&passphrase, self.rng.as_ref());
        let manager = SecretsManager::new(
            SecretsConfig::Passphrase { salt },
            KeySource::Passphrase(Some(passphrase)),
            Some(key),
            Arc::clone(&self.rng),
        );
        Ok(self.keep(manager))
    }

    fn keep(&self, manager: SecretsManager) -> SecretsManager {
        let mut open = self.open.lock();
        open.entry(manager.config().clone())
            .or_insert(manager)
            .clone()
    }

    /// The id comes from a state file, so it must not leave the folder.
    fn key_path(&self, id: &str) -> Result<PathBuf, SecretsError> {
        let safe = !id.is_empty()
            && id.len() <= 64
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if safe {
            Ok(self.folder.join(id))
        } else {
            Err(SecretsError::MalformedState(
                "the name of a key of letters, digits and `-`",
            ))
        }
    }
}

/// Reads a key file: one line of base64.
pub(super) fn read_key(path: &Path) -> Result<Key, SecretsError> {
    let text = fs_err::read_to_string(path).map_err(|source| SecretsError::KeyFile {
        path: path.to_owned(),
        source,
    })?;
    let bytes: [u8; 32] = STANDARD
        .decode(text.trim_end())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| SecretsError::MalformedKey(path.to_owned()))?;
    Ok(Key::new(&bytes))
}
