//! A private copy of an image's root, where overlays are refused. Never hard links: an in-place
//! write would go through to the store and to every other instance.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::Path;

use rustix::fs::{FileType, Mode, ioctl_ficlone, mknodat};

/// Copies the tree with modes and owners; device nodes are left out, they could not be opened.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    let mut modes = Vec::new();
    while let Some((from, to)) = folders.pop() {
        fs_err::create_dir_all(&to)?;
        modes.push((to.clone(), fs_err::metadata(&from)?));
        for entry in fs_err::read_dir(&from)? {
            let entry = entry?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push((from, to));
            } else if kind.is_symlink() {
                fs_err::os::unix::fs::symlink(fs_err::read_link(&from)?, &to)?;
                let seen = fs_err::symlink_metadata(&from)?;
                lchown(&to, Some(seen.uid()), Some(seen.gid()))?;
            } else if kind.is_file() {
                copy_file(&from, &to)?;
            } else if std::os::unix::fs::FileTypeExt::is_fifo(&kind) {
                let mode = Mode::from_raw_mode(fs_err::symlink_metadata(&from)?.mode() & 0o777);
                mknodat(rustix::fs::CWD, &to, FileType::Fifo, mode, 0)?;
            }
        }
    }
    // Deepest last in, so that a folder closed to us is closed after its content is there.
    for (to, seen) in modes.iter().rev() {
        lchown(to, Some(seen.uid()), Some(seen.gid()))?;
        fs_err::set_permissions(to, seen.permissions())?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = fs_err::File::open(from)?;
    let mut target = fs_err::File::create_new(to)?;
    if ioctl_ficlone(target.file(), source.file()).is_err() {
        io::copy(&mut source, &mut target)?;
    }
    let seen = source.metadata()?;
    lchown(to, Some(seen.uid()), Some(seen.gid()))?;
    // After the owner: changing it clears setuid.
    target.set_permissions(std::fs::Permissions::from_mode(seen.mode() & 0o7777))
}
