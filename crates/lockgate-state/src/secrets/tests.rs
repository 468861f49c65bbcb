//! Cells, interoperability and memory of ciphertexts.

use lockgate_diag::Secret;
use lockgate_model::Rng;

use super::*;

/// Counts upwards: every nonce differs, and runs repeat.
struct CountingRng(Mutex<u64>);

impl Rng for CountingRng {
    fn fill(&self, buffer: &mut [u8]) {
        let mut count = self.0.lock();
        for chunk in buffer.chunks_mut(8) {
            *count += 1;
            chunk.copy_from_slice(&count.to_le_bytes()[..chunk.len()]);
        }
    }
}

fn keyring(home: &std::path::Path, passphrase: Option<&str>) -> Keyring {
    let passphrase = passphrase.map(|text| Secret::new(text.to_owned()));
    Keyring::new(home, passphrase, Arc::new(CountingRng(Mutex::new(0))))
}

/// Made with Python's `hashlib.pbkdf2_hmac` and `cryptography`'s AESGCM.
const SALT: &str = "v1:AQIDBAUGBwg=:v1:EBESExQVFhcYGRob:bHA1XH61ndngv8cgbXLt4nZiLlc8Ag==";
const CELL: &str =
    "v1:ICEiIyQlJicoKSor:impGpQpHN4+UPGdqrE90sAmlzrZMBbCo2jqN3T18hYIWIEEtyDPAw7BiH3/biDo+3g==";

#[test]
fn passphrase_cells_of_other_tools_open_and_a_wrong_passphrase_says_so() {
    let home = tempfile::tempdir().unwrap();
    let config = SecretsConfig::Passphrase {
        salt: SALT.to_owned(),
    };
    let manager = keyring(home.path(), Some("correct horse battery staple"))
        .open(&config)
        .unwrap();
    assert_eq!(
        manager.decrypt(CELL).unwrap().expose(),
        "{\"user\":\"ada\",\"pin\":[1,2.5,null]}"
    );
    let again = manager.encrypt("x").unwrap();
    assert_eq!(manager.decrypt(&again).unwrap().expose(), "x");

    let wrong = keyring(home.path(), Some("correct horse"))
        .open(&config)
        .unwrap();
    assert!(matches!(
        wrong.decrypt(CELL),
        Err(SecretsError::WrongPassphrase)
    ));
    let none = keyring(home.path(), None).open(&config).unwrap();
    assert!(matches!(none.unlock(), Err(SecretsError::NoPassphrase)));
}

#[test]
fn a_local_key_is_private_and_checked() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let ring = keyring(home.path(), None);
    let manager = ring.create_local().unwrap();
    let cell = manager.encrypt("swordfish").unwrap();
    let SecretsConfig::Local { key, .. } = manager.config().clone() else {
        panic!("a local manager");
    };
    let path = home.path().join("keys").join(&key);
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let reopened = keyring(home.path(), None).open(manager.config()).unwrap();
    assert_eq!(reopened.decrypt(&cell).unwrap().expose(), "swordfish");

    let other = ring.create_local().unwrap();
    let SecretsConfig::Local { key: other_key, .. } = other.config().clone() else {
        panic!("a local manager");
    };
    fs_err::copy(home.path().join("keys").join(other_key), &path).unwrap();
    let swapped = keyring(home.path(), None).open(manager.config()).unwrap();
    assert!(matches!(swapped.decrypt(&cell), Err(SecretsError::WrongKey(id)) if id == key));
}

#[test]
fn a_key_name_cannot_leave_its_folder() {
    let home = tempfile::tempdir().unwrap();
    for key in ["", "../../etc/passwd", "a/b", ".."] {
        let config = SecretsConfig::Local {
            key: key.to_owned(),
            check: String::new(),
        };
        assert!(keyring(home.path(), None).open(&config).is_err(), "{key}");
    }
}

#[test]
fn every_altered_byte_of_a_cell_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let manager = keyring(home.path(), None).create_local().unwrap();
    let cell = manager.encrypt("0123456789").unwrap();
    for index in 0..cell.len() {
        let mut altered = cell.clone().into_bytes();
        altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(manager.decrypt(&altered).is_err(), "byte {index}");
    }
}

#[test]
fn unchanged_secrets_keep_their_cell_and_equal_ones_do_not_show_it() {
    let home = tempfile::tempdir().unwrap();
    let manager = keyring(home.path(), None).create_local().unwrap();
    let here = Place {
        urn: "u",
        section: "inputs",
        property: "a",
    };
    let there = Place {
        property: "b",
        ..here
    };
    let first = manager.encrypt_at(&here, "same").unwrap();
    assert_eq!(manager.encrypt_at(&here, "same").unwrap(), first);
    assert_ne!(manager.encrypt_at(&there, "same").unwrap(), first);
    assert_ne!(manager.encrypt_at(&here, "other").unwrap(), first);
}

#[test]
fn stack_files_name_their_manager_both_ways() {
    for config in [
        SecretsConfig::Passphrase {
            salt: SALT.to_owned(),
        },
        SecretsConfig::Local {
            key: "abc".to_owned(),
            check: String::new(),
        },
    ] {
        let file = config.to_stack_file();
        assert_eq!(SecretsConfig::from_stack_file(&file).unwrap(), Some(config));
    }
    let cloud = StackFileSecrets {
        provider: Some("awskms://alias/x".to_owned()),
        salt: None,
    };
    assert!(matches!(
        SecretsConfig::from_stack_file(&cloud),
        Err(SecretsError::UnknownProvider(_))
    ));
}
