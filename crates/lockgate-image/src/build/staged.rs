//! Files of images and earlier stages: as a tree to select from, and their content, taken from
//! compressed layers in one pass each.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use crate::context::{ContentHash, Entry, EntryKind, FileRef, Folder, Item, ItemKind, Tree};
use crate::layer::{Layer, open_layer};
use crate::rootfs::{NodeKind, Owner, Rootfs, split};
use crate::store::{Store, StoreError};
use crate::tar::{Limits, TarError, TarReader};

/// Largest passwd or group file that is read.
const ACCOUNTS_BYTES_MAX: u64 = 1024 * 1024;

/// The merged file system as a tree to select from.
pub(super) fn tree_of(rootfs: &Rootfs) -> Tree {
    let mut tree = Tree {
        root: None,
        folders: vec![Folder::default()],
    };
    let mut indexes: HashMap<Vec<u8>, u32> = HashMap::from([(Vec::new(), 0)]);
    for (path, node) in rootfs.iter() {
        let (parent, name) = split(path);
        let kind = match &node.kind {
            NodeKind::Folder => {
                let index = u32::try_from(tree.folders.len()).unwrap_or(u32::MAX);
                tree.folders.push(Folder {
                    path: path.to_vec(),
                    mode: node.mode,
                    owner: node.owner,
                    ..Folder::default()
                });
                indexes.insert(path.to_vec(), index);
                EntryKind::Folder(index)
            }
            NodeKind::File { size, layer, path } => EntryKind::Layered {
                layer: *layer,
                path: path.clone(),
                size: *size,
                mode: node.mode,
            },
            NodeKind::Symlink(target) => EntryKind::Symlink(target.clone()),
            NodeKind::Special => EntryKind::Special { device: false },
        };
        // Archives may leave folders out; what is below such a one is reached by no walk.
        let parent = indexes
            .get(parent)
            .copied()
            .unwrap_or_else(|| add_folders(&mut tree, &mut indexes, parent));
        tree.folders[parent as usize].entries.push(Entry {
            name: name.into(),
            kind,
            excluded: false,
            owner: node.owner,
        });
    }
    for folder in &mut tree.folders {
        folder.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    tree
}

/// Adds the folders of `path` that no archive member named.
fn add_folders(tree: &mut Tree, indexes: &mut HashMap<Vec<u8>, u32>, path: &[u8]) -> u32 {
    if let Some(index) = indexes.get(path) {
        return *index;
    }
    let (parent, name) = split(path);
    let parent = add_folders(tree, indexes, parent);
    let index = u32::try_from(tree.folders.len()).unwrap_or(u32::MAX);
    tree.folders.push(Folder {
        path: path.to_vec(),
        ..Folder::default()
    });
    tree.folders[parent as usize].entries.push(Entry {
        name: name.into(),
        kind: EntryKind::Folder(index),
        excluded: false,
        owner: Owner::default(),
    });
    indexes.insert(path.to_vec(), index);
    index
}

/// Contents of files from layers and archives, in one temporary file.
pub(super) struct Spool {
    file: std::fs::File,
    end: u64,
}

/// A file in the spool: where it starts, how long it is, what it holds.
pub(super) type Spooled = (u64, u64, ContentHash);

impl Spool {
    pub(super) fn new(store: &Store) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(store.root().join("tmp"))?,
            end: 0,
        })
    }

    pub(super) fn append(&mut self, input: &mut dyn Read) -> io::Result<Spooled> {
        let (start, mut hasher) = (self.end, blake3::Hasher::new());
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = input.read(&mut buffer)?;
            if n == 0 {
                return Ok((start, self.end - start, *hasher.finalize().as_bytes()));
            }
            hasher.update(&buffer[..n]);
            self.file.write_all_at(&buffer[..n], self.end)?;
            self.end += n as u64;
        }
    }

    pub(super) fn open(&self, start: u64, size: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut input = self.file.try_clone()?;
        input.seek(SeekFrom::Start(start))?;
        Ok(Box::new(io::BufReader::new(input.take(size))))
    }
}

/// Why layers could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum StagedError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("read layer {0}")]
    Layer(lockgate_model::Digest, #[source] TarError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Copies the content of the selected files out of their layers.
pub(super) fn spool_layers(
    store: &Store,
    layers: &[Layer],
    tree: &Tree,
    items: &[Item],
    spool: &mut Spool,
) -> Result<HashMap<FileRef, Spooled>, StagedError> {
    let mut wanted: BTreeMap<u32, HashMap<&[u8], Vec<FileRef>>> = BTreeMap::new();
    for item in items {
        if let ItemKind::File(file) = item.kind
            && let EntryKind::Layered { layer, path, .. } = &tree.entry(file).kind
        {
            wanted
                .entry(*layer)
                .or_default()
                .entry(path)
                .or_default()
                .push(file);
        }
    }
    let mut places = HashMap::new();
    for (layer, paths) in wanted {
        let Some(layer) = layers.get(layer as usize) else {
            continue;
        };
        let failed = |e| StagedError::Layer(layer.descriptor.digest, e);
        let mut reader = TarReader::new(open_layer(store, &layer.descriptor)?, Limits::default());
        while let Some(member) = reader.next_member().map_err(failed)? {
            // The last member of a path counts, so a file stays wanted.
            let Some(files) = paths.get(member.path.as_slice()) else {
                continue;
            };
            let spooled = spool.append(&mut reader.content())?;
            places.extend(files.iter().map(|file| (*file, spooled)));
        }
        reader.drain().map_err(failed)?;
    }
    Ok(places)
}

/// A small file of a stage, such as `etc/passwd`; `None` if it does not exist.
pub(super) fn read_small(
    store: &Store,
    layers: &[Layer],
    rootfs: &Rootfs,
    path: &[u8],
) -> Result<Option<String>, StagedError> {
    let real = rootfs.resolve(path);
    let Some(NodeKind::File { layer, path, .. }) = rootfs.find(&real).map(|n| &n.kind) else {
        return Ok(None);
    };
    let Some(layer) = layers.get(*layer as usize) else {
        return Ok(None);
    };
    let mut reader = TarReader::new(open_layer(store, &layer.descriptor)?, Limits::default());
    let mut found = None;
    while let Some(member) = reader
        .next_member()
        .map_err(|e| StagedError::Layer(layer.descriptor.digest, e))?
    {
        if member.path[..] == path[..] {
            let mut bytes = Vec::new();
            reader
                .content()
                .take(ACCOUNTS_BYTES_MAX)
                .read_to_end(&mut bytes)?;
            found = Some(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(found)
}
