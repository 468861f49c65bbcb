//! Writes the merged file system of an image to a folder, trusting nothing in its layers.
//!
//! Every operation is relative to an open folder below the destination, found by the kernel with
//! links resolved *inside* the root (`openat2`, `RESOLVE_IN_ROOT`), so no layer can write outside.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lockgate_model::Digest;
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::layer::open_layer;
use crate::store::{Store, StoreError};
use crate::tar::{Limits, Member, MemberKind, TarError, TarReader};

/// Deepest folder that is removed by a whiteout.
const DEPTH_MAX: u32 = 512;

/// What becomes of the owners in the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Files belong to the caller; setuid and setgid bits are dropped. Works without privileges.
    Caller,
    /// Numbers as in the layers. Needs root.
    Keep,
    /// `base + number` for numbers below `count`; larger ones are refused. For user namespaces.
    Shift {
        /// First outside number.
        base: u32,
        /// How many are mapped.
        count: u32,
    },
}

/// Why an image could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The store has no usable image.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer is not a proper archive or too large.
    #[error("read layer {layer}")]
    Layer {
        /// The layer.
        layer: Digest,
        /// What is wrong with it.
        #[source]
        source: TarError,
    },
    /// A member cannot be written.
    #[error("unpack `{path}` of layer {layer}")]
    Member {
        /// The layer.
        layer: Digest,
        /// Path in the image.
        path: String,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The destination cannot be prepared.
    #[error("prepare {path}")]
    Destination {
        /// The folder.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

/// Unpacks the image `manifest` to `dest`, which must not exist. `dest` appears whole or not at
/// all: work happens in a sibling folder that is renamed at the end.
pub fn unpack(
    store: &Store,
    manifest: &Digest,
    dest: &Path,
    owners: Owners,
) -> Result<(), UnpackError> {
    let image = store.image(manifest)?;
    let destination = |source| UnpackError::Destination {
        path: dest.to_owned(),
        source,
    };
    if dest.symlink_metadata().is_ok() {
        return Err(destination(io::ErrorKind::AlreadyExists.into()));
    }
    let parent = dest
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs_err::create_dir_all(parent).map_err(destination)?;
    let work = tempfile::Builder::new()
        .prefix(".unpack-")
        .tempdir_in(parent)
        .map_err(destination)?;
    let root = fs::open(
        work.path(),
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| destination(e.into()))?;
    fs::fchmod(&root, Mode::from_raw_mode(0o755)).map_err(|e| destination(e.into()))?;
    let mut unpacker = Unpacker::new(&root, owners);
    for descriptor in &image.manifest.layers {
        let layer = descriptor.digest;
        let failed = |source| UnpackError::Layer { layer, source };
        let input = open_layer(store, descriptor)?;
        let mut reader = TarReader::new(input, Limits::default());
        unpacker.begin_layer();
        while let Some(member) = reader.next_member().map_err(failed)? {
            unpacker
                .apply(&member, &mut reader.content())
                .map_err(|source| UnpackError::Member {
                    layer,
                    path: String::from_utf8_lossy(&member.path).into_owned(),
                    source,
                })?;
        }
        reader.drain().map_err(failed)?;
    }
    unpacker.finish().map_err(destination)?;
    drop(root);
    fs_err::rename(work.keep(), dest).map_err(destination)
}

/// Applies layers to an open folder.
pub(crate) struct Unpacker<'a> {
    root: &'a OwnedFd,
    owners: Owners,
    /// Paths this layer wrote: an opaque marker hides lower layers only, wherever it stands.
    written: HashSet<Vec<u8>>,
    /// Modes and times of folders, set last: a read-only one could not be filled without
    /// privileges, and filling it changes its time.
    folders: BTreeMap<Vec<u8>, (u32, i64)>,
}

impl<'a> Unpacker<'a> {
    pub(crate) fn new(root: &'a OwnedFd, owners: Owners) -> Self {
        Self {
            root,
            owners,
            written: HashSet::new(),
            folders: BTreeMap::new(),
        }
    }

    /// What follows belongs to the next layer up.
    pub(crate) fn begin_layer(&mut self) {
        self.written.clear();
    }

    /// Writes one member, or removes what a whiteout names.
    pub(crate) fn apply(&mut self, member: &Member, content: &mut dyn Read) -> io::Result<()> {
        if member.path.is_empty() {
            return self.set_root(member);
        }
        let (parent_path, name) = split(&member.path);
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return self.hide(parent_path, hidden);
        }
        // A link to itself says nothing, and must not make the folder it would be in.
        if member.kind == MemberKind::HardLink && member.link == member.path {
            return Ok(());
        }
        let parent = self.folder(parent_path)?;
        let name = OsStr::from_bytes(name);
        self.written.insert(member.path.clone());
        match member.kind {
            MemberKind::Folder => self.make_folder(&parent, name, member),
            MemberKind::File => {
                remove(parent.as_fd(), name, 0)?;
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let mut file = std::fs::File::from(fs::openat(
                    &parent,
                    name,
                    flags,
                    Mode::from_raw_mode(0o600),
                )?);
                io::copy(content, &mut file)?;
                self.own(file.as_fd(), member)?;
                Ok(fs::futimens(&file, &times(member.mtime))?)
            }
            MemberKind::Symlink => {
                remove(parent.as_fd(), name, 0)?;
                fs::symlinkat(OsStr::from_bytes(&member.link), &parent, name)?;
                if let Some((uid, gid)) = self.ids(member)? {
                    fs::chownat(
                        &parent,
                        name,
                        Some(uid),
                        Some(gid),
                        AtFlags::SYMLINK_NOFOLLOW,
                    )?;
                }
                Ok(fs::utimensat(
                    &parent,
                    name,
                    &times(member.mtime),
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            MemberKind::HardLink => {
                let (source_parent, source_name) = split(&member.link);
                let source = self.folder(source_parent)?;
                remove(parent.as_fd(), name, 0)?;
                Ok(fs::linkat(
                    &source,
                    OsStr::from_bytes(source_name),
                    &parent,
                    name,
                    AtFlags::empty(),
                )?)
            }
            // A platform gives its services devices of its own; what it hides is hidden still.
            MemberKind::Special => remove(parent.as_fd(), name, 0),
        }
    }

    /// Does what the whiteout of `hidden` in a folder says.
    fn hide(&self, folder: &[u8], hidden: &[u8]) -> io::Result<()> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "malformed whiteout",
            ));
        }
        // What is not there needs no hiding, and must not come to be by it.
        let parent = match self.open(folder) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        match hidden {
            b".wh..opq" => self.clear(&parent, folder),
            // Other aufs bookkeeping files carry no content of the image.
            hidden if hidden.starts_with(b".wh.") => Ok(()),
            hidden => remove(parent.as_fd(), OsStr::from_bytes(hidden), 0),
        }
    }

    fn make_folder(&mut self, parent: &OwnedFd, name: &OsStr, member: &Member) -> io::Result<()> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match fs::openat(parent, name, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                remove(parent.as_fd(), name, 0)?;
                fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
                fs::openat(parent, name, flags, Mode::empty())?
            }
            Err(e) => return Err(e.into()),
        };
        self.folders
            .insert(member.path.clone(), (member.mode, member.mtime));
        match self.ids(member)? {
            Some((uid, gid)) => Ok(fs::fchown(&folder, Some(uid), Some(gid))?),
            None => Ok(()),
        }
    }

    fn set_root(&mut self, member: &Member) -> io::Result<()> {
        if member.kind != MemberKind::Folder {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the root is not a folder",
            ));
        }
        self.own(self.root.as_fd(), member)
    }

    /// Opens a folder with links resolved inside the root.
    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        fs::openat2(
            self.root,
            OsStr::from_bytes(path),
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// As [`Self::open`]; missing folders are created.
    fn folder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        match self.open(path) {
            Err(Errno::NOENT) if !path.is_empty() => {
                let (above, name) = split(path);
                let parent = self.folder(above)?;
                let name = OsStr::from_bytes(name);
                match fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    // A dangling link stands where a folder is needed: the layer means a folder.
                    Err(Errno::EXIST) => {
                        remove(parent.as_fd(), name, 0)?;
                        fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                    }
                    other => other?,
                }
                fs::chmodat(&parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
                Ok(self.open(path)?)
            }
            // A file of a lower layer where this one has a folder.
            Err(Errno::NOTDIR) if !path.is_empty() => {
                let (above, name) = split(path);
                let parent = self.folder(above)?;
                let name = OsStr::from_bytes(name);
                remove(parent.as_fd(), name, 0)?;
                fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                Ok(self.open(path)?)
            }
            other => Ok(other?),
        }
    }

    /// Removes what lower layers put into a folder.
    fn clear(&self, folder: &OwnedFd, path: &[u8]) -> io::Result<()> {
        for name in children(folder.as_fd())? {
            let child = join(path, name.as_bytes());
            if !self.written.contains(&child) {
                remove(folder.as_fd(), &name, 0)?;
            }
        }
        Ok(())
    }

    fn own(&self, file: impl AsFd, member: &Member) -> io::Result<()> {
        if let Some((uid, gid)) = self.ids(member)? {
            fs::fchown(&file, Some(uid), Some(gid))?;
        }
        // After chown, which drops setuid.
        Ok(fs::fchmod(
            &file,
            Mode::from_raw_mode(member.mode & self.mode_mask()),
        )?)
    }

    fn mode_mask(&self) -> u32 {
        if self.owners == Owners::Caller {
            0o1777
        } else {
            0o7777
        }
    }

    fn ids(&self, member: &Member) -> io::Result<Option<(fs::Uid, fs::Gid)>> {
        let map = |id: u64| {
            let refuse = || {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("owner {id} cannot be mapped"),
                )
            };
            let id = u32::try_from(id).map_err(|_| refuse())?;
            match self.owners {
                Owners::Shift { base, count } if id < count => {
                    base.checked_add(id).ok_or_else(refuse)
                }
                Owners::Shift { .. } => Err(refuse()),
                Owners::Keep | Owners::Caller => Ok(id),
            }
        };
        match self.owners {
            Owners::Caller => Ok(None),
            _ => Ok(Some((
                fs::Uid::from_raw(map(member.uid)?),
                fs::Gid::from_raw(map(member.gid)?),
            ))),
        }
    }

    /// Sets what folders can get only once they are full.
    pub(crate) fn finish(&self) -> io::Result<()> {
        for (path, (mode, mtime)) in self.folders.iter().rev() {
            // A later layer may have removed or replaced it.
            if let Ok(folder) = fs::openat2(
                self.root,
                OsStr::from_bytes(path),
                OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            ) {
                fs::fchmod(&folder, Mode::from_raw_mode(mode & self.mode_mask()))?;
                fs::futimens(&folder, &times(*mtime))?;
            }
        }
        Ok(())
    }
}

fn times(mtime: i64) -> Timestamps {
    let stamp = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: stamp,
        last_modification: stamp,
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(i) => (&path[..i], &path[i + 1..]),
        None => (b"", path),
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        name.to_vec()
    } else {
        [folder, b"/", name].concat()
    }
}

fn children(folder: impl AsFd) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Removes a name and everything below it; a missing name is fine.
fn remove(parent: impl AsFd, name: &OsStr, depth: u32) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("folders are nested too deep"));
    }
    let stat = match fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(fs::unlinkat(&parent, name, AtFlags::empty())?);
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = fs::openat(&parent, name, flags, Mode::empty())?;
    for child in children(&folder)? {
        remove(&folder, &child, depth + 1)?;
    }
    Ok(fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
}
