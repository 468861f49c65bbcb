//! Assets and archives of a program: paths become relative to the project folder, hashes are
//! computed when a property arrives, so that a changed file is a changed property.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use lockgate_model::{PropertyMap, Value};
use sha2::{Digest as _, Sha256};

/// Most entries of a folder given as an archive.
const ENTRIES_MAX: usize = 200_000;

/// Why an asset cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssetError {
    /// The content cannot be read.
    #[error("asset `{path}` cannot be read: {source}")]
    Read {
        /// The path as the program gave it.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A bug: the reading thread panicked.
    #[error("reading assets broke off")]
    Broken,
}

/// Where the program's relative paths start, and where the state's do.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// The project folder.
    pub(crate) root: PathBuf,
    /// The folder the program runs in.
    pub(crate) program: PathBuf,
}

impl Folders {
    /// Fills in hashes. Properties without assets are returned as they are.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        properties: PropertyMap,
    ) -> Result<PropertyMap, AssetError> {
        let is_asset = &mut |value: &Value| matches!(value, Value::Asset(_) | Value::Archive(_));
        if !properties.values().any(|value| value.any(is_asset)) {
            return Ok(properties);
        }
        let folders = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut properties = properties;
            for value in properties.values_mut() {
                folders.settle_value(value)?;
            }
            Ok(properties)
        })
        .await
        .map_err(|_| AssetError::Broken)?
    }

    fn settle_value(&self, value: &mut Value) -> Result<(), AssetError> {
        match value {
            Value::Secret(inner) => self.settle_value(inner),
            Value::List(items) => items.iter_mut().try_for_each(|v| self.settle_value(v)),
            Value::Map(map) => map.values_mut().try_for_each(|v| self.settle_value(v)),
            Value::Asset(asset) => self.settle_asset(asset),
            Value::Archive(archive) => self.settle_archive(archive),
            _ => Ok(()),
        }
    }

    fn settle_asset(&self, asset: &mut Asset) -> Result<(), AssetError> {
        match &mut asset.source {
            AssetSource::Text(text) => asset.hash = Some(hex::encode(Sha256::digest(text))),
            AssetSource::Path(path) => {
                let hash = hash_file(&self.program.join(&*path));
                asset.hash = Some(hex::encode(hash.map_err(|e| unreadable(path, e))?));
                *path = self.rebase(path);
            }
            // What only a URI names is not fetched to be compared.
            AssetSource::Uri(_) => {}
        }
        Ok(())
    }

    fn settle_archive(&self, archive: &mut Archive) -> Result<(), AssetError> {
        match &mut archive.source {
            ArchiveSource::Path(path) => {
                let hash = hash_archive(&self.program.join(&*path));
                archive.hash = Some(hash.map_err(|e| unreadable(path, e))?);
                *path = self.rebase(path);
            }
            ArchiveSource::Assets(assets) => {
                for value in assets.values_mut() {
                    self.settle_value(value)?;
                }
                let entries: Option<Vec<_>> = assets
                    .iter()
                    .map(|(path, value)| Some((path.as_str(), hash_of(value)?)))
                    .collect();
                archive.hash = entries.map(|entries| hash_entries(&entries));
            }
            ArchiveSource::Uri(_) => {}
        }
        Ok(())
    }

    /// A path of the program as the state keeps it: relative to the project folder.
    fn rebase(&self, path: &str) -> String {
        let whole = self.program.join(path);
        match (
            Path::new(path).is_absolute(),
            whole.strip_prefix(&self.root),
        ) {
            (false, Ok(inner)) if self.program != self.root => inner.to_string_lossy().into_owned(),
            _ => path.to_owned(),
        }
    }
}

fn unreadable(path: &str, source: io::Error) -> AssetError {
    AssetError::Read {
        path: path.to_owned(),
        source,
    }
}

/// The hash that an asset or archive carries already.
fn hash_of(value: &Value) -> Option<[u8; 32]> {
    let text = match value.unsecret() {
        Value::Asset(asset) => asset.hash.as_deref()?,
        Value::Archive(archive) => archive.hash.as_deref()?,
        _ => return None,
    };
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

fn hash_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Of the bytes of an archive file, or of the entries of a folder.
fn hash_archive(path: &Path) -> io::Result<String> {
    if !fs_err::metadata(path)?.is_dir() {
        return hash_file(path).map(hex::encode);
    }
    let mut files = Vec::new();
    let mut open = vec![path.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?.path();
            // A link to a folder above is refused by the entry cap.
            if fs_err::metadata(&entry)?.is_dir() {
                open.push(entry);
            } else {
                files.push(entry);
            }
            if files.len() + open.len() > ENTRIES_MAX {
                let message = format!("the folder has more than {ENTRIES_MAX} entries");
                return Err(io::Error::other(message));
            }
        }
    }
    let mut entries = Vec::with_capacity(files.len());
    for file in files {
        let name = file.strip_prefix(path).unwrap_or(&file);
        entries.push((name.to_string_lossy().into_owned(), hash_file(&file)?));
    }
    entries.sort();
    let entries: Vec<_> = entries.iter().map(|(n, h)| (n.as_str(), *h)).collect();
    Ok(hash_entries(&entries))
}

/// Changes when a path or a content does, and with nothing else. The same as for YAML programs,
/// so that a program can move between languages without a change of its resources.
fn hash_entries(entries: &[(&str, [u8; 32])]) -> String {
    let mut hasher = Sha256::new();
    for (path, content) in entries {
        hasher.update((path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(content);
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(path: &str) -> PropertyMap {
        let source = ArchiveSource::Path(path.to_owned());
        [(
            "a".to_owned(),
            Value::Archive(Archive { hash: None, source }),
        )]
        .into()
    }

    #[tokio::test]
    async fn a_changed_file_changes_the_hash_and_paths_start_at_the_project() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let program = dir.path().join("infra");
        fs_err::create_dir_all(program.join("site")).expect("folder");
        fs_err::write(program.join("site/index.html"), "one").expect("file");
        let folders = Arc::new(Folders {
            root: dir.path().to_owned(),
            program: program.clone(),
        });
        let first = folders.settle(archive("site")).await.expect("readable");
        let Value::Archive(seen) = &first["a"] else {
            panic!("an archive stays one")
        };
        assert_eq!(seen.source, ArchiveSource::Path("infra/site".to_owned()));
        assert!(seen.hash.is_some());
        let again = folders.settle(archive("site")).await.expect("readable");
        assert_eq!(first, again);
        fs_err::write(program.join("site/index.html"), "two").expect("file");
        let changed = folders.settle(archive("site")).await.expect("readable");
        assert_ne!(first, changed);
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let folders = Arc::new(Folders {
            root: "/nonexistent".into(),
            program: "/nonexistent".into(),
        });
        let error = folders.settle(archive("gone.zip")).await.expect_err("gone");
        assert!(error.to_string().contains("gone.zip"), "{error}");
    }
}
