//! Where a blob was last seen in a registry, so that a push to a neighbour can mount it. A hint
//! and nothing more: lost or wrong, it costs an upload.

use lockgate_model::Digest;

use super::Repository;
use crate::store::{Store, write_atomically};

const FOLDER: &str = "origins";

/// Remembers that `repository` holds the blob.
pub(super) fn note(store: &Store, digest: &Digest, repository: &Repository) {
    let folder = store.root().join(FOLDER);
    let text = format!("{} {}\n", repository.registry, repository.path);
    // Nothing depends on it, so a full disk is not reported here.
    let _ = fs_err::create_dir_all(&folder)
        .and_then(|()| write_atomically(&folder.join(digest.hex()), text.as_bytes()));
}

/// The repository that was noted last.
pub(super) fn find(store: &Store, digest: &Digest) -> Option<Repository> {
    let path = store.root().join(FOLDER).join(digest.hex());
    let text = fs_err::read_to_string(path).ok()?;
    let (registry, path) = text.trim_end().split_once(' ')?;
    Some(Repository {
        registry: registry.to_owned(),
        path: path.to_owned(),
    })
}
