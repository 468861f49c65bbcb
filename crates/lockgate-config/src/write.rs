//! Files that matter are replaced whole: a reader sees the old text or the new one, also after a
//! power loss.

use std::io::{self, Write};
use std::path::Path;

/// Replaces `path` by `bytes`: temporary file in the same folder, fsync, rename, fsync of the
/// folder. Permissions of an existing file are kept.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    // One fixed name per target: a leftover of a killed run is replaced by the next one.
    let mut temporary = name.to_os_string();
    temporary.push(".lockgate-tmp");
    let temporary = folder.join(temporary);
    let mut file = fs_err::File::create(&temporary)?;
    if let Ok(metadata) = fs_err::metadata(path) {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    fs_err::rename(&temporary, path)?;
    fs_err::File::open(folder)?.sync_all()
}
