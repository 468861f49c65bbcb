//! The key file is private, stable and refused when damaged.

use super::*;

struct Counting;

impl Rng for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for (at, byte) in buffer.iter_mut().enumerate() {
            *byte = u8::try_from(at % 256).unwrap();
        }
    }
}

#[test]
fn the_key_is_created_once_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node/key");
    let first = NodeKey::load_or_create(&path, &Counting).unwrap();
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = NodeKey::load_or_create(&path, &Counting).unwrap();
    assert_eq!(first.hash_key(), second.hash_key());
    assert_ne!(first.hash_key().expose(), &first.seal_key());
}

#[test]
fn exposed_and_damaged_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs_err::write(&path, [7; 31]).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = NodeKey::load_or_create(&path, &Counting).unwrap_err();
    assert!(matches!(error, NodeKeyError::Exposed(_)), "{error:?}");
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = NodeKey::load_or_create(&path, &Counting).unwrap_err();
    assert!(matches!(error, NodeKeyError::Damaged(_)), "{error:?}");
}
