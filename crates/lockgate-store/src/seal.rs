//! Secrets at rest: AES-256-GCM with a random nonce, bound to the place they are stored at.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_diag::Secret;
use lockgate_model::Rng;

const NONCE_BYTES: usize = 12;

/// Seals and opens secrets under one key.
pub(crate) struct Sealer(Aes256Gcm);

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Base64 of nonce and ciphertext. `place` is authenticated, so a sealed value that is moved
    /// to another object or field does not open.
    pub(crate) fn seal(&self, secret: &Secret<String>, place: &str, rng: &dyn Rng) -> String {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill(&mut nonce);
        let payload = Payload {
            msg: secret.expose().as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = self
            .0
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("AES-GCM takes messages far above the size of a request body");
        STANDARD.encode([&nonce[..], &sealed].concat())
    }

    /// The inverse; `None` when key, place or bytes differ.
    pub(crate) fn open(&self, text: &str, place: &str) -> Option<Secret<String>> {
        let bytes = STANDARD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES)?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        let opened = self.0.decrypt(Nonce::from_slice(nonce), payload).ok()?;
        String::from_utf8(opened).ok().map(Secret::new)
    }
}
