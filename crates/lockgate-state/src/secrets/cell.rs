//! Keys, cells and the derivation of a key from a passphrase. Pure but for the nonce.

use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lockgate_diag::Secret;
use lockgate_model::Rng;
use pbkdf2::pbkdf2_hmac_array;
use sha2::Sha256;

use super::{CHECK_WORD, SecretsError};

/// Rounds of PBKDF2-HMAC-SHA256, fixed by the format.
const ROUNDS: u32 = 1_000_000;
/// Bytes of the salt of a passphrase.
const SALT_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const VERSION: &str = "v1:";

/// A 256-bit key, ready for use.
#[derive(Clone)]
pub(super) struct Key(Arc<Aes256Gcm>);

impl Key {
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        Self(Arc::new(Aes256Gcm::new(bytes.into())))
    }

    /// Encrypts with a fresh nonce.
    pub(super) fn seal(&self, plaintext: &str, rng: &dyn Rng) -> String {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill(&mut nonce);
        let sealed = self
            .0
            .encrypt(&Nonce::from(nonce), plaintext.as_bytes())
            .expect("AES-GCM takes up to 64 GiB, a property far less");
        format!(
            "{VERSION}{}:{}",
            STANDARD.encode(nonce),
            STANDARD.encode(sealed)
        )
    }

    /// Decrypts and authenticates.
    pub(super) fn open(&self, cell: &str) -> Result<Secret<String>, SecretsError> {
        let malformed = || SecretsError::MalformedCell;
        let (nonce, sealed) = cell
            .strip_prefix(VERSION)
            .and_then(|rest| rest.split_once(':'))
            .ok_or_else(malformed)?;
        let nonce: [u8; NONCE_BYTES] = STANDARD
            .decode(nonce)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(malformed)?;
        let sealed = STANDARD.decode(sealed).map_err(|_| malformed())?;
        let plain = self
            .0
            .decrypt(&Nonce::from(nonce), sealed.as_slice())
            .map_err(|_| SecretsError::Altered)?;
        String::from_utf8(plain)
            .map(Secret::new)
            .map_err(|_| SecretsError::NotAValue)
    }

    /// Whether `check` is the cell of the check word under this key.
    pub(super) fn proves(&self, check: &str) -> bool {
        self.open(check)
            .is_ok_and(|word| word.expose() == CHECK_WORD)
    }
}

/// A new salt string for `passphrase`, and its key.
pub(super) fn new_passphrase(passphrase: &Secret<String>, rng: &dyn Rng) -> (String, Key) {
    let mut salt = [0; SALT_BYTES];
    rng.fill(&mut salt);
    let key = derive(passphrase, &salt);
    let check = key.seal(CHECK_WORD, rng);
    (format!("{VERSION}{}:{check}", STANDARD.encode(salt)), key)
}

/// The key of `passphrase` under a salt string, checked.
pub(super) fn open_passphrase(
    state: &str,
    passphrase: &Secret<String>,
) -> Result<Key, SecretsError> {
    let malformed = || SecretsError::MalformedState("`v1:<salt>:v1:<nonce>:<ciphertext>`");
    let (salt, check) = state
        .strip_prefix(VERSION)
        .and_then(|rest| rest.split_once(':'))
        .ok_or_else(malformed)?;
    let salt = STANDARD.decode(salt).map_err(|_| malformed())?;
    if salt.len() != SALT_BYTES {
        return Err(malformed());
    }
    let key = derive(passphrase, &salt);
    match key.open(check) {
        Ok(word) if word.expose() == CHECK_WORD => Ok(key),
        Err(SecretsError::MalformedCell) => Err(malformed()),
        _ => Err(SecretsError::WrongPassphrase),
    }
}

fn derive(passphrase: &Secret<String>, salt: &[u8]) -> Key {
    let bytes: [u8; 32] =
        pbkdf2_hmac_array::<Sha256, 32>(passphrase.expose().as_bytes(), salt, ROUNDS);
    Key::new(&bytes)
}
