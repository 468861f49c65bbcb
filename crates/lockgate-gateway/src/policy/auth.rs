//! API keys: found by their public id, proved by a keyed hash of the whole text.
//!
//! The table holds hashes only. A key is checked afresh for every request: with the hash's key
//! schedule prepared, that costs a fraction of a microsecond, and no cache can serve a revoked key.

use std::collections::HashMap;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use lockgate_model::gateway::ApiKeySpec;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The keyed hash of an API key's text as [`ApiKeySpec::hash`] stores it: HMAC-SHA-256.
pub fn key_hash(key: &[u8; 32], text: &str) -> [u8; 32] {
    KeyHasher::new(key).hash(text)
}

/// HMAC-SHA-256 with its key schedule prepared.
#[derive(Clone)]
pub(crate) struct KeyHasher(Hmac<Sha256>);

impl KeyHasher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of every length"))
    }

    fn hash(&self, text: &str) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// A key as the table keeps it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) id: Arc<str>,
    /// Index of the consumer in the table.
    pub(crate) consumer: u32,
    hash: [u8; 32],
    enabled: bool,
}

/// All keys of a table.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_id: HashMap<u64, Key>,
}

impl Keys {
    /// Adds a key; false when the id is not 16 lower-case hex digits.
    pub(crate) fn add(&mut self, spec: &ApiKeySpec, consumer: u32) -> bool {
        let Some(id) = parse_id(&spec.id) else {
            return false;
        };
        self.by_id.insert(
            id,
            Key {
                id: spec.id.as_str().into(),
                consumer,
                hash: spec.hash,
                enabled: spec.enabled,
            },
        );
        true
    }

    /// The key whose text this is. An unknown id costs the same hash and comparison as a known
    /// one, so the answer's time tells nothing.
    pub(crate) fn find(&self, hasher: &KeyHasher, text: &str) -> Option<&Key> {
        let (id, _) = ApiKeySpec::split(text)?;
        let key = parse_id(id).and_then(|id| self.by_id.get(&id));
        let stored = key.map_or([0; 32], |key| key.hash);
        let same = bool::from(hasher.hash(text).ct_eq(&stored));
        key.filter(|key| same && key.enabled)
    }
}

fn parse_id(id: &str) -> Option<u64> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (id.len() == 16 && id.bytes().all(hex))
        .then(|| u64::from_str_radix(id, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 test case 2 has a short key; this is case 1's form with a 32-byte key, computed
    /// with `openssl dgst -sha256 -mac hmac -macopt hexkey:0b0b…0b`.
    #[test]
    fn the_hash_is_hmac_sha_256() {
        assert_eq!(
            hex::encode(key_hash(&[0x0b; 32], "Hi There")),
            "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7"
        );
    }

    #[test]
    fn only_the_whole_key_of_an_enabled_id_is_found() {
        let secret = "ab".repeat(32);
        let text = format!("lgk_0123456789abcdef_{secret}");
        let key = [7; 32];
        let spec = |enabled| ApiKeySpec {
            id: "0123456789abcdef".into(),
            consumer: "c".into(),
            hash: key_hash(&key, &text),
            enabled,
        };
        let hasher = KeyHasher::new(&key);
        let mut keys = Keys::default();
        assert!(keys.add(&spec(true), 3));
        assert_eq!(keys.find(&hasher, &text).map(|k| k.consumer), Some(3));
        assert!(
            keys.find(&hasher, &text.replace("abab", "abac")).is_none(),
            "another secret"
        );
        assert!(keys.find(&hasher, &text.to_uppercase()).is_none());
        assert!(keys.find(&KeyHasher::new(&[8; 32]), &text).is_none());
        let mut disabled = Keys::default();
        assert!(disabled.add(&spec(false), 3));
        assert!(disabled.find(&hasher, &text).is_none());
    }
}
