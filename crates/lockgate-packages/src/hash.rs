//! Content hashes of files, as assets carry them.

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Hex SHA-256 of a file, read in pieces.
pub(crate) fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}
