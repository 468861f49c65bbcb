//! One layer: where its entries go in the image, and writing them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::Arc;

use lockgate_diag::codes::image as codes;
use lockgate_diag::{Diagnostic, SourceFile};

use crate::context::{ContentHash, FileRef, Item, ItemKind, join, show};
use crate::layer::{LAYER_FORMAT, Layer, LayerWriter};
use crate::recipe::Copy;
use crate::rootfs::{Node, NodeKind, Owner, Rootfs, split};
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
    pub(super) owner: Owner,
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
    /// Out of an archive: it becomes what the archive says, whatever the image has there.
    pub(super) unpacked: bool,
}

/// Computes the entries of a COPY: links of the image are followed on the way to the
/// destination (not with `--link`), folders that exist are not written again. `owner` is that of
/// `--chown`; without it everything keeps its own.
pub(super) fn place(
    rootfs: &Rootfs,
    copy: &Copy,
    items: &[Placed<'_>],
    rename: Option<&[u8]>,
    owner: Option<Owner>,
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
        made_by: owner.unwrap_or_default(),
        file,
        out: BTreeMap::new(),
    };
    let mut folders: HashMap<&[u8], Vec<u8>> = HashMap::new();
    for placed in items {
        let item: &Item = &placed.item;
        let meta = Meta {
            mode: item.mode,
            owner: owner.unwrap_or(item.owner),
            unpacked: placed.unpacked,
        };
        let path = if item.path.is_empty() {
            root.clone()
        } else {
            let (parent, name) = split(&item.path);
            join(&placer.inside(&root, parent, &folders), name)
        };
        if let Some(path) = placer.item(placed, path, meta)? {
            folders.insert(&item.path, path);
        }
    }
    let entry = |(path, body): (Vec<u8>, Body)| Entry {
        path,
        kind: body.kind,
        mode: body.mode,
        owner: body.owner,
    };
    Ok(placer.out.into_iter().map(entry).collect())
}

struct Placer<'a> {
    rootfs: &'a Rootfs,
    copy: &'a Copy,
    /// Owner of folders that no source names.
    made_by: Owner,
    file: &'a Arc<SourceFile>,
    /// By path, so that the layer is in byte order.
    out: BTreeMap<Vec<u8>, Body>,
}

/// What is known of an item beside its path and content.
#[derive(Clone, Copy)]
struct Meta {
    mode: u32,
    owner: Owner,
    unpacked: bool,
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

    /// Adds an item at `path`; gives where it really is if others go into it.
    fn item(
        &mut self,
        placed: &Placed<'_>,
        path: Vec<u8>,
        meta: Meta,
    ) -> Result<Option<Vec<u8>>, Diagnostic> {
        let item: &Item = &placed.item;
        match &item.kind {
            // The destination itself is there, or made like the folders above it.
            ItemKind::Folder if item.path.is_empty() && placed.unpacked => Ok(None),
            ItemKind::Folder if item.path.is_empty() => self.destination(path).map(Some),
            ItemKind::Folder => self.folder(path, meta).map(Some),
            ItemKind::Symlink(target) => {
                let mode = 0o777;
                self.leaf(path, Kind::Symlink(target.clone()), Meta { mode, ..meta })?;
                Ok(None)
            }
            ItemKind::File(_) => {
                if let Some((content, size, hash)) = placed.content.clone() {
                    let kind = Kind::File {
                        content,
                        size,
                        hash,
                    };
                    self.leaf(path, kind, meta)?;
                }
                Ok(None)
            }
        }
    }

    /// Adds a folder unless it exists; gives where it really is.
    fn folder(&mut self, path: Vec<u8>, meta: Meta) -> Result<Vec<u8>, Diagnostic> {
        let path = match self.below(&path).map(|n| &n.kind) {
            _ if meta.unpacked => path,
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
            Some(chmod) if !meta.unpacked => chmod.apply(meta.mode, true),
            _ => meta.mode,
        };
        self.parents(&path)?;
        self.put(path.clone(), Kind::Folder, mode, meta.owner);
        Ok(path)
    }

    /// Where a folder of the sources has come to lie. Archives may leave out the folders above
    /// their members: those are found as any destination is.
    fn inside(&self, root: &[u8], path: &[u8], known: &HashMap<&[u8], Vec<u8>>) -> Vec<u8> {
        if let Some(place) = known.get(path) {
            return place.clone();
        }
        if path.is_empty() {
            return root.to_vec();
        }
        let (above, name) = split(path);
        let place = join(&self.inside(root, above, known), name);
        if self.copy.link {
            return place;
        }
        self.rootfs.resolve(&place)
    }

    /// The folder that the content of a source folder goes into.
    fn destination(&mut self, path: Vec<u8>) -> Result<Vec<u8>, Diagnostic> {
        let inside = join(&path, b"_");
        self.parents(&inside)?;
        Ok(path)
    }

    fn leaf(&mut self, path: Vec<u8>, kind: Kind, meta: Meta) -> Result<(), Diagnostic> {
        let below = self.below(&path).map(|n| &n.kind);
        if path.is_empty() || (below == Some(&NodeKind::Folder) && !meta.unpacked) {
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
            (Some(chmod), Kind::File { .. }) if !meta.unpacked => chmod.apply(meta.mode, false),
            _ => meta.mode,
        };
        self.parents(&path)?;
        self.put(path, kind, mode, meta.owner);
        Ok(())
    }

    fn parents(&mut self, path: &[u8]) -> Result<(), Diagnostic> {
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            let parent = &path[..at];
            if self.out.contains_key(parent) {
                continue;
            }
            match self.below(parent).map(|n| &n.kind) {
                Some(NodeKind::Folder | NodeKind::Symlink(_)) => {}
                Some(_) => {
                    return Err(self.conflict(parent, "is a file of the image, not a folder"));
                }
                None => {
                    let owner = self.made_by;
                    self.put(parent.to_vec(), Kind::Folder, 0o755, owner);
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, path: Vec<u8>, kind: Kind, mode: u32, owner: Owner) {
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
        numbers[4..12].copy_from_slice(&entry.owner.uid.to_le_bytes());
        numbers[12..].copy_from_slice(&entry.owner.gid.to_le_bytes());
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
            uid: entry.owner.uid,
            gid: entry.owner.gid,
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
