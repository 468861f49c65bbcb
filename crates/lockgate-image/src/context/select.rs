//! Picks from a context what one COPY takes: patterns, links, excludes, `--parents`.

use std::io;
use std::os::unix::ffi::OsStrExt as _;

use super::{EntryKind, FileRef, Tree, join, show};
use crate::ignore::{Ignore, Matched};
use crate::pattern;
use crate::rootfs::Owner;

/// Most links followed for one source, as in the kernel.
const LINKS_MAX: usize = 40;

/// What a COPY takes, relative to its destination, in byte order of the paths.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    pub(crate) items: Vec<Item>,
    /// Name of the file, when the only source is one and the destination may be its new name.
    /// The single item then has an empty path.
    pub(crate) rename: Option<Vec<u8>>,
    /// Files that are sources themselves, not found below a folder: ADD unpacks only these.
    pub(crate) direct: Vec<FileRef>,
    /// Sockets and pipes that were left out.
    pub(crate) skipped: Vec<String>,
}

/// One file, folder or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: ItemKind,
    /// Permission bits before `--chmod`.
    pub(crate) mode: u32,
    /// Owner before `--chown`.
    pub(crate) owner: Owner,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Folder,
    File(FileRef),
    Symlink(Vec<u8>),
}

/// Why a source cannot be copied. `Skipped` asks for a wider scan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelectError {
    #[error("`{path}` is not in the build context")]
    Missing { path: String },
    #[error("`{path}` is excluded by the ignore file")]
    Excluded { path: String },
    #[error("`{path}` is a link that leads in circles")]
    Loop { path: String },
    #[error("`{path}` is a device")]
    Device { path: String },
    #[error("cannot read folder `{path}`")]
    Unreadable {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("pattern `{path}` is malformed")]
    BadPattern { path: String },
    #[error("`{path}` is both a file and a folder")]
    Conflict { path: String },
    #[error("`{path}` was not scanned")]
    Skipped { path: String },
}

/// One source as the selection needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) patterns: &'a [&'a str],
    /// The destination is a folder that files go into.
    pub(crate) into: bool,
    pub(crate) exclude: &'a Ignore,
    pub(crate) parents: bool,
}

/// Picks the sources of one COPY.
pub(crate) fn select(tree: &Tree, request: Request<'_>) -> Result<Selected, SelectError> {
    let mut picker = Picker {
        tree,
        request,
        out: Selected::default(),
    };
    let mut sources = Vec::new();
    for pattern in request.patterns {
        sources.extend(picker.expand(pattern)?);
    }
    let only_file = matches!(
        sources.as_slice(),
        [Source {
            node: Node::File(_) | Node::Symlink(_),
            ..
        }]
    );
    for source in &sources {
        picker.take(source)?;
    }
    let mut out = picker.out;
    if only_file && !request.into && !request.parents {
        out.rename = out
            .items
            .first_mut()
            .map(|item| std::mem::take(&mut item.path));
    }
    // Stable, so of two sources with one path the later stays last and wins.
    out.items.sort_by(|a, b| a.path.cmp(&b.path));
    let mut conflict = None;
    out.items.dedup_by(|later, earlier| {
        if later.path != earlier.path {
            return false;
        }
        if (later.kind == ItemKind::Folder) != (earlier.kind == ItemKind::Folder) {
            conflict = Some(show(&later.path));
        }
        earlier.kind = later.kind.clone();
        true
    });
    match conflict {
        Some(path) => Err(SelectError::Conflict { path }),
        None => Ok(out),
    }
}

/// The longest part of a source without a pattern, cleaned: what a scan must list.
pub(crate) fn static_prefix(source: &str) -> Vec<u8> {
    let parts = components(source);
    let fixed: Vec<&[u8]> = parts
        .iter()
        .copied()
        .take_while(|part| !pattern::has_meta(part))
        .collect();
    fixed.join(&b'/')
}

/// Components of a source; `..` and a leading slash stay inside the context.
fn components(source: &str) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in source.as_bytes().split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

#[derive(Clone, Debug)]
enum Node {
    Folder(u32),
    File(FileRef),
    Symlink(FileRef),
    Special { device: bool },
}

struct Source {
    /// Path it was found under, for its name and `--parents`.
    path: Vec<u8>,
    node: Node,
    /// Leading bytes of `path` that `--parents` cuts (before `/./`).
    cut: usize,
}

struct Picker<'a> {
    tree: &'a Tree,
    request: Request<'a>,
    out: Selected,
}

impl Picker<'_> {
    fn expand(&self, source: &str) -> Result<Vec<Source>, SelectError> {
        let parts = components(source);
        let cut = source
            .find("/./")
            .filter(|_| self.request.parents)
            .map_or(0, |at| components(&source[..at]).join(&b'/').len());
        if !parts.iter().any(|part| pattern::has_meta(part)) {
            let path = parts.join(&b'/');
            let node = self.resolve(&parts, source)?;
            return Ok(vec![Source { path, node, cut }]);
        }
        let mut found = Vec::new();
        self.glob(0, &parts, Vec::new(), source, &mut |path, node| {
            found.push(Source { path, node, cut })
        })?;
        Ok(found)
    }

    /// Walks the folders that match, component by component.
    fn glob(
        &self,
        folder: u32,
        parts: &[&[u8]],
        path: Vec<u8>,
        source: &str,
        found: &mut dyn FnMut(Vec<u8>, Node),
    ) -> Result<(), SelectError> {
        let Some((first, rest)) = parts.split_first() else {
            return Ok(());
        };
        if *first == b"**" && self.request.parents {
            self.glob(folder, rest, path.clone(), source, found)?;
        }
        for (index, entry) in self.list(folder)?.iter().enumerate() {
            let any_depth = *first == b"**" && self.request.parents;
            let fits = any_depth
                || pattern::matches(first, &entry.name).map_err(|_| SelectError::BadPattern {
                    path: source.to_owned(),
                })?;
            if !fits || (entry.excluded && !matches!(entry.kind, EntryKind::Folder(_))) {
                continue;
            }
            let here = join(&path, &entry.name);
            let file = self.file_ref(folder, index);
            match (&entry.kind, rest.is_empty()) {
                (EntryKind::Folder(below), _) if any_depth => {
                    self.glob(*below, parts, here, source, found)?
                }
                (EntryKind::Folder(below), false) => {
                    self.glob(*below, rest, here, source, found)?
                }
                (_, false) => {}
                // A source that is a link is followed; a dangling one is an error as a literal.
                (EntryKind::Symlink(_), true) => {
                    let parts: Vec<&[u8]> = here.split(|b| *b == b'/').collect();
                    let node = self.resolve(&parts, source)?;
                    found(here, node);
                }
                (kind, true) => found(here, node_of(kind, file)),
            }
        }
        Ok(())
    }

    /// Follows links inside the context root.
    fn resolve(&self, parts: &[&[u8]], source: &str) -> Result<Node, SelectError> {
        let mut todo: Vec<Vec<u8>> = parts.iter().rev().map(|p| p.to_vec()).collect();
        let mut at: Vec<u32> = vec![0];
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if at.len() > 1 {
                        at.pop();
                    }
                    continue;
                }
                _ => {}
            }
            let folder = at.last().copied().unwrap_or(0);
            let entries = self.list(folder)?;
            let Ok(index) = entries.binary_search_by(|e| e.name[..].cmp(&part)) else {
                return Err(self.missing(parts, source));
            };
            match &entries[index].kind {
                EntryKind::Folder(below) => at.push(*below),
                EntryKind::Symlink(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(SelectError::Loop {
                            path: source.to_owned(),
                        });
                    }
                    if target.starts_with(b"/") {
                        at.truncate(1);
                    }
                    todo.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                }
                kind if todo.is_empty() => return Ok(node_of(kind, self.file_ref(folder, index))),
                _ => return Err(self.missing(parts, source)),
            }
        }
        Ok(Node::Folder(at.last().copied().unwrap_or(0)))
    }

    fn missing(&self, parts: &[&[u8]], source: &str) -> SelectError {
        let path = source.to_owned();
        let relative = parts.join(&b'/');
        let on_disk = self
            .tree
            .root
            .as_ref()
            .map(|root| root.join(std::ffi::OsStr::from_bytes(&relative)));
        if on_disk.is_some_and(|p| p.symlink_metadata().is_ok()) {
            SelectError::Excluded { path }
        } else {
            SelectError::Missing { path }
        }
    }

    fn list(&self, index: u32) -> Result<&[super::Entry], SelectError> {
        let folder = self.tree.folder(index);
        let path = || {
            if folder.path.is_empty() {
                ".".to_owned()
            } else {
                show(&folder.path)
            }
        };
        match &folder.error {
            _ if folder.skipped => Err(SelectError::Skipped { path: path() }),
            Some(e) => Err(SelectError::Unreadable {
                path: path(),
                source: io::Error::new(e.kind(), e.to_string()),
            }),
            None => Ok(&folder.entries),
        }
    }

    fn file_ref(&self, folder: u32, entry: usize) -> FileRef {
        // Entries are capped far below 2^32 by the scan.
        FileRef {
            folder,
            entry: u32::try_from(entry).unwrap_or(u32::MAX),
        }
    }

    fn take(&mut self, source: &Source) -> Result<(), SelectError> {
        let name = source
            .path
            .rsplit(|b| *b == b'/')
            .next()
            .unwrap_or_default()
            .to_vec();
        let kept = source
            .path
            .get(source.cut..)
            .unwrap_or_default()
            .strip_prefix(b"/")
            .unwrap_or(&source.path[source.cut..])
            .to_vec();
        if self.request.parents {
            for (at, _) in kept.iter().enumerate().filter(|(_, b)| **b == b'/') {
                self.out.items.push(Item {
                    path: kept[..at].to_vec(),
                    kind: ItemKind::Folder,
                    mode: 0o755,
                    owner: Owner::default(),
                });
            }
        }
        match &source.node {
            Node::Folder(index) => {
                let base = if self.request.parents {
                    kept
                } else {
                    Vec::new()
                };
                self.out.items.push(Item {
                    path: base.clone(),
                    kind: ItemKind::Folder,
                    mode: self.tree.folder(*index).mode,
                    owner: self.tree.folder(*index).owner,
                });
                self.take_folder(*index, &base, b"", &Matched::default())
            }
            _ if self.request.exclude.excludes_deep(&name) => Ok(()),
            node => {
                if let Node::File(file) = node {
                    self.out.direct.push(*file);
                }
                let path = if self.request.parents { kept } else { name };
                self.take_leaf(node, path)
            }
        }
    }

    fn take_leaf(&mut self, node: &Node, path: Vec<u8>) -> Result<(), SelectError> {
        let kind = match node {
            Node::File(file) => ItemKind::File(*file),
            Node::Symlink(file) => match &self.tree.entry(*file).kind {
                EntryKind::Symlink(target) => ItemKind::Symlink(target.to_vec()),
                _ => ItemKind::File(*file),
            },
            Node::Special { device: true } => {
                return Err(SelectError::Device { path: show(&path) });
            }
            Node::Special { device: false } => {
                self.out.skipped.push(show(&path));
                return Ok(());
            }
            Node::Folder(_) => ItemKind::Folder,
        };
        let mode = match node {
            Node::File(file) => self.tree.entry(*file).kind.image_mode(),
            _ => 0o777,
        };
        let owner = match node {
            Node::File(file) | Node::Symlink(file) => self.tree.entry(*file).owner,
            Node::Folder(_) | Node::Special { .. } => Owner::default(),
        };
        self.out.items.push(Item {
            path,
            kind,
            mode,
            owner,
        });
        Ok(())
    }

    /// Everything below a folder. `inner` is the path from the source folder, for `--exclude`.
    fn take_folder(
        &mut self,
        index: u32,
        base: &[u8],
        inner: &[u8],
        matched: &Matched,
    ) -> Result<(), SelectError> {
        let tree = self.tree;
        // Checks that it was listed.
        self.list(index)?;
        for (entry_index, entry) in tree.folder(index).entries.iter().enumerate() {
            let inside = join(inner, &entry.name);
            let path = join(base, &entry.name);
            if let EntryKind::Folder(below) = entry.kind {
                let (out, matched) = self.request.exclude.matches(&inside, matched);
                if out && !self.request.exclude.may_include_below(&inside) {
                    continue;
                }
                let before = self.out.items.len();
                self.out.items.push(Item {
                    path: path.clone(),
                    kind: ItemKind::Folder,
                    mode: tree.folder(below).mode,
                    owner: tree.folder(below).owner,
                });
                self.take_folder(below, &path, &inside, &matched)?;
                // An excluded folder exists only for what is included below it.
                if (out || entry.excluded) && self.out.items.len() == before + 1 {
                    self.out.items.truncate(before);
                }
                continue;
            }
            if self.request.exclude.excludes(&inside, matched) {
                continue;
            }
            let file = self.file_ref(index, entry_index);
            self.take_leaf(&node_of(&entry.kind, file), path)?;
        }
        Ok(())
    }
}

fn node_of(kind: &EntryKind, file: FileRef) -> Node {
    match kind {
        EntryKind::Folder(index) => Node::Folder(*index),
        EntryKind::File(_) | EntryKind::Given { .. } | EntryKind::Layered { .. } => {
            Node::File(file)
        }
        EntryKind::Symlink(_) => Node::Symlink(file),
        EntryKind::Special { device } => Node::Special { device: *device },
    }
}
