//! One layer: where its entries go in the image, and writing them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::Arc;

use lockgate_diag::codes::image as codes;
use lockgate_diag::{Diagnostic, SourceFile};

use crate::context::{ContentHash, FileRef, Item, ItemKind, join, show};
use crate::layer::{LAYER_FORMAT, Layer, LayerWriter};
use crate::recipe::Copy;
use crate::rootfs::{Node, NodeKind, Rootfs, split};
use crate::store::{Store, StoreError};
use crate::tar::{Header, HeaderKind};

/// Where the bytes of an entry are.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// In a file of the build context.
    Context(FileRef),
    /// In the spool, from this byte on.
    Spool(u64),
    /// In memory: heredocs.
    Bytes(Arc<[u8]>),
}

/// One entry of a layer, with its place in the image.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Folder,
    Symlink(Vec<u8>),
    File {
        content: Content,
        size: u64,
        hash: ContentHash,
    },
}

/// An item with what packing needs to know beside its path.
pub(super) struct Placed<'a> {
    pub(super) item: std::borrow::Cow<'a, Item>,
    pub(super) content: Option<(Content, u64, ContentHash)>,
    /// Owner from an unpacked archive.
    pub(super) owner: Option<Owner>,
}

/// Numeric owner of new entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u64,
    pub(super) gid: u64,
}

/// Computes the entries of a COPY: links of the image are followed on the way to the
/// destination (not with `--link`), folders that exist are not written again.
pub(super) fn place(
    rootfs: &Rootfs,
    copy: &Copy,
    items: &[Placed<'_>],
    rename: Option<&[u8]>,
    owner: Owner,
    file: &Arc<SourceFile>,
) -> Result<Vec<Entry>, Diagnostic> {
    let plain = copy.dest.trim_matches('/').as_bytes();
    let mut root = if copy.link {
        plain.to_vec()
    } else {
        rootfs.resolve(plain)
    };
    if let Some(name) = rename
        && (rootfs.is_folder(&root) || root.is_empty())
    {
        // The destination is a folder of the image, so the file keeps its name.
        root = join(&root, name);
    }
    let mut placer = Placer {
        rootfs,
        copy,
        owner,
        file,
        out: BTreeMap::new(),
    };
    let mut folders: HashMap<&[u8], Vec<u8>> = HashMap::new();
    for placed in items {
        let item: &Item = &placed.item;
        placer.owner = placed.owner.unwrap_or(owner);
        let path = if item.path.is_empty() {
            root.clone()
        } else {
            let (parent, name) = split(&item.path);
            join(folders.get(parent).unwrap_or(&root), name)
        };
        match &item.kind {
            ItemKind::Folder => {
                let path = placer.folder(path, item.mode)?;
                folders.insert(&item.path, path);
            }
            ItemKind::Symlink(target) => placer.leaf(path, Kind::Symlink(target.clone()), 0o777)?,
            ItemKind::File(_) => {
                let Some((content, size, hash)) = placed.content.clone() else {
                    continue;
                };
                placer.leaf(
                    path,
                    Kind::File {
                        content,
                        size,
                        hash,
                    },
                    item.mode,
                )?;
            }
        }
    }
    let entry = |(path, body): (Vec<u8>, Body)| Entry {
        path,
        kind: body.kind,
        mode: body.mode,
        uid: body.owner.uid,
        gid: body.owner.gid,
    };
    Ok(placer.out.into_iter().map(entry).collect())
}

struct Placer<'a> {
    rootfs: &'a Rootfs,
    copy: &'a Copy,
    owner: Owner,
    file: &'a Arc<SourceFile>,
    /// By path, so that the layer is in byte order.
    out: BTreeMap<Vec<u8>, Body>,
}

/// An entry without its path.
struct Body {
    kind: Kind,
    mode: u32,
    owner: Owner,
}

impl Placer<'_> {
    fn conflict(&self, path: &[u8], what: &str) -> Diagnostic {
        Diagnostic::error(codes::PATH_CONFLICT, format!("`/{}` {what}", show(path))).at(
            self.file,
            self.copy.span,
            "",
        )
    }

    /// The node below, unless the layer must not depend on what is below.
    fn below(&self, path: &[u8]) -> Option<&Node> {
        if self.copy.link {
            None
        } else {
            self.rootfs.find(path)
        }
    }

    /// Adds a folder unless it exists; gives where it really is.
    fn folder(&mut self, path: Vec<u8>, mode: u32) -> Result<Vec<u8>, Diagnostic> {
        if path.is_empty() {
            return Ok(path);
        }
        let path = match self.below(&path).map(|n| &n.kind) {
            Some(NodeKind::Symlink(_)) => {
                let real = self.rootfs.resolve(&path);
                if self.rootfs.is_folder(&real) {
                    return Ok(real);
                }
                path
            }
            Some(NodeKind::Folder) => return Ok(path),
            Some(_) => return Err(self.conflict(&path, "is a file of the image, not a folder")),
            None => path,
        };
        let mode = match &self.copy.chmod {
            Some(chmod) => chmod.apply(mode, true),
            None => mode,
        };
        self.parents(&path)?;
        self.put(path.clone(), Kind::Folder, mode);
        Ok(path)
    }

    fn leaf(&mut self, path: Vec<u8>, kind: Kind, mode: u32) -> Result<(), Diagnostic> {
        if path.is_empty()
            || matches!(
                self.below(&path),
                Some(Node {
                    kind: NodeKind::Folder,
                    ..
                })
            )
        {
            return Err(self.conflict(
                &path,
                "is a folder of the image and would be replaced by a file",
            ));
        }
        if matches!(
            self.out.get(&path),
            Some(Body {
                kind: Kind::Folder,
                ..
            })
        ) {
            return Err(self.conflict(&path, "is both a file and a folder"));
        }
        let mode = match (&self.copy.chmod, &kind) {
            (Some(chmod), Kind::File { .. }) => chmod.apply(mode, false),
            _ => mode,
        };
        self.parents(&path)?;
        self.put(path, kind, mode);
        Ok(())
    }

    fn parents(&mut self, path: &[u8]) -> Result<(), Diagnostic> {
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            let parent = &path[..at];
            match self.below(parent).map(|n| &n.kind) {
                Some(NodeKind::Folder | NodeKind::Symlink(_)) => {}
                Some(_) => {
                    return Err(self.conflict(parent, "is a file of the image, not a folder"));
                }
                None if self.out.contains_key(parent) => {}
                None => self.put(parent.to_vec(), Kind::Folder, 0o755),
            }
        }
        Ok(())
    }

    fn put(&mut self, path: Vec<u8>, kind: Kind, mode: u32) {
        let owner = self.owner;
        self.out.insert(path, Body { kind, mode, owner });
    }
}

/// Name of a layer by everything that goes into it.
pub(super) fn layer_name(entries: &[Entry], epoch: i64) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(&LAYER_FORMAT.to_le_bytes());
    field(&epoch.to_le_bytes());
    for entry in entries {
        field(&entry.path);
        match &entry.kind {
            Kind::Folder => field(b"d"),
            Kind::Symlink(target) => {
                field(b"l");
                field(target);
            }
            Kind::File { hash, .. } => {
                field(b"f");
                field(hash);
            }
        }
        let mut numbers = [0; 20];
        numbers[..4].copy_from_slice(&entry.mode.to_le_bytes());
        numbers[4..12].copy_from_slice(&entry.uid.to_le_bytes());
        numbers[12..].copy_from_slice(&entry.gid.to_le_bytes());
        field(&numbers);
    }
    hasher.finalize().to_hex().as_str()[..40].to_owned()
}

/// Why a layer could not be packed.
pub(super) enum PackError {
    Store(StoreError),
    /// Reading this path failed.
    Read(String, io::Error),
    /// The file is not what was hashed.
    Changed(String),
}

/// Opens the content of an entry of this size.
pub(super) type Open<'a> = dyn FnMut(&Content, u64) -> io::Result<Box<dyn Read + Send>> + 'a;

/// Packs entries, which are in path order. Each file is hashed again on the way: a layer never
/// holds anything but what its key says.
pub(super) fn pack(
    store: &Store,
    entries: &[Entry],
    epoch: i64,
    open: &mut Open<'_>,
) -> Result<Layer, PackError> {
    let mut writer = LayerWriter::new(store).map_err(PackError::Store)?;
    for entry in entries {
        let kind = match &entry.kind {
            Kind::Folder => HeaderKind::Folder,
            Kind::Symlink(target) => HeaderKind::Symlink(target),
            Kind::File { size, .. } => HeaderKind::File(*size),
        };
        let header = Header {
            path: &entry.path,
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: epoch,
        };
        let failed = |e| PackError::Read(show(&entry.path), e);
        let Kind::File {
            content,
            size,
            hash,
        } = &entry.kind
        else {
            writer.append(&header, &mut io::empty()).map_err(failed)?;
            continue;
        };
        let input = open(content, *size).map_err(failed)?;
        let mut input = Hashing {
            input,
            hasher: blake3::Hasher::new(),
        };
        match writer.append(&header, &mut input) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::FileTooLarge
                ) =>
            {
                return Err(PackError::Changed(show(&entry.path)));
            }
            other => other.map_err(failed)?,
        }
        if input.hasher.finalize().as_bytes() != hash {
            return Err(PackError::Changed(show(&entry.path)));
        }
    }
    writer.finish().map_err(PackError::Store)
}

struct Hashing {
    input: Box<dyn Read + Send>,
    hasher: blake3::Hasher,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}
