//! `USER` of an image, and names looked up in the image's own passwd and group.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// Larger files of names are no files of names.
const NAMES_BYTES_MAX: u64 = 1 << 20;

/// Who runs the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Home folder; `/` when the image does not say.
    pub(super) home: String,
}

/// Resolves `name[:group]` or numbers (OCI image-spec config.md, `User`).
pub(super) fn resolve(root: &Path, user: &str) -> Result<User, String> {
    let read = |path: &str| {
        read_inside(root, path).map_err(|error| format!("read {path} of the image: {error}"))
    };
    let passwd = read("etc/passwd")?;
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entry
        .filter(|fields| fields.len() >= 6)
        .find(|fields| fields[0] == name || (name.parse::<u32>().is_ok() && fields[2] == name));
    let number = |text: &str| text.parse::<u32>().ok();
    let uid = match &entry {
        Some(fields) => number(fields[2]),
        None => number(name),
    };
    let uid = uid.ok_or_else(|| format!("user `{name}` is not in /etc/passwd of the image"))?;
    let gid = match group {
        Some(group) => match number(group) {
            Some(gid) => gid,
            None => read("etc/group")?
                .lines()
                .map(|line| line.split(':').collect::<Vec<_>>())
                .find(|fields| fields.len() >= 3 && fields[0] == group)
                .and_then(|fields| number(fields[2]))
                .ok_or_else(|| format!("group `{group}` is not in /etc/group of the image"))?,
        },
        None => entry
            .as_ref()
            .and_then(|fields| number(fields[3]))
            .unwrap_or(0),
    };
    let home = entry
        .map(|fields| fields[5].to_owned())
        .filter(|home| home.starts_with('/'));
    Ok(User {
        uid,
        gid,
        home: home.unwrap_or_else(|| "/".to_owned()),
    })
}

/// Reads a file of the image; links resolve inside it, a missing file is empty.
fn read_inside(root: &Path, path: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let root = openat(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let file = match openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(NAMES_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_resolve_inside_the_image_only() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs_err::create_dir(root.join("etc")).unwrap();
        fs_err::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:\n",
        )
        .unwrap();
        fs_err::write(root.join("etc/group"), "web:x:34:\nlog:x:4:\n").unwrap();
        let user = |text: &str| resolve(root, text).map(|u| (u.uid, u.gid, u.home));
        assert_eq!(user(""), Ok((0, 0, "/root".to_owned())));
        assert_eq!(user("web"), Ok((33, 34, "/srv".to_owned())));
        assert_eq!(user("33:log"), Ok((33, 4, "/srv".to_owned())));
        assert_eq!(user("1000:1000"), Ok((1000, 1000, "/".to_owned())));
        assert!(user("nobody-here").is_err());
        fs_err::remove_file(root.join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("etc/passwd")).unwrap();
        assert!(user("daemon").is_err(), "the machine's own passwd was read");
    }
}
