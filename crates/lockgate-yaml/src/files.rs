//! The files a program may read: contents, digests, folders. The only I/O of this crate besides
//! loading the program itself.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Most bytes that `fn::readFile` and its like take into a value.
pub const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most entries of a folder given as an archive.
const ENTRIES_MAX: usize = 200_000;

/// Files by path, relative to the folder of the program unless absolute. Calls may block.
pub trait Files: Send + Sync + 'static {
    /// The whole content, at most [`READ_BYTES_MAX`] bytes.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// SHA-256 of the content, streamed.
    fn sha256(&self, path: &str) -> io::Result<[u8; 32]>;
    /// Paths below a folder, `/` between parts, sorted; `None` when `path` is a file.
    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>>;
}

/// The files of a project folder.
#[derive(Clone, Debug)]
pub struct ProjectFiles {
    /// Folder that relative paths start at.
    pub root: PathBuf,
}

impl Files for ProjectFiles {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = fs_err::File::open(self.root.join(path))?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > READ_BYTES_MAX {
            let message = format!("the file is larger than {READ_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(bytes)
    }

    fn sha256(&self, path: &str) -> io::Result<[u8; 32]> {
        let mut file = fs_err::File::open(self.root.join(path))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(hasher.finalize().into());
            }
            hasher.update(&buffer[..count]);
        }
    }

    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>> {
        let root = self.root.join(path);
        if !fs_err::metadata(&root)?.is_dir() {
            return Ok(None);
        }
        let mut found = Vec::new();
        let mut open = vec![root.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs_err::read_dir(&folder)? {
                let path = entry?.path();
                // Links are followed once by `metadata`; a link to a folder above is refused by
                // the entry cap.
                if fs_err::metadata(&path)?.is_dir() {
                    open.push(path);
                } else {
                    found.push(relative(&root, &path));
                }
                if found.len() + open.len() > ENTRIES_MAX {
                    let message = format!("the folder has more than {ENTRIES_MAX} entries");
                    return Err(io::Error::other(message));
                }
            }
        }
        found.sort();
        Ok(Some(found))
    }
}

fn relative(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = inner
        .components()
        .map(|c| c.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

/// Hex SHA-256 of the entries of an archive: changes when a path or a content does, and with
/// nothing else.
pub(crate) fn hash_entries<'e>(entries: impl Iterator<Item = (&'e str, [u8; 32])>) -> String {
    let mut hasher = Sha256::new();
    for (path, content) in entries {
        hasher.update((path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(content);
    }
    hex::encode(hasher.finalize())
}

/// Hex hash of the archive at `path`: of the entries of a folder, of the bytes of a file.
pub(crate) fn hash_archive(files: &dyn Files, path: &str) -> io::Result<String> {
    let Some(entries) = files.list(path)? else {
        return files.sha256(path).map(hex::encode);
    };
    let hashed: Vec<(String, [u8; 32])> = entries
        .into_iter()
        .map(|entry| {
            let content = files.sha256(&format!("{}/{entry}", path.trim_end_matches('/')))?;
            Ok((entry, content))
        })
        .collect::<io::Result<_>>()?;
    Ok(hash_entries(
        hashed
            .iter()
            .map(|(path, content)| (path.as_str(), *content)),
    ))
}
