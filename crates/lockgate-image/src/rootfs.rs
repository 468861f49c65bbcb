//! The merged paths of a stack of layers, without content: what exists at a path, where links
//! lead, which layer holds a file.

use std::collections::BTreeMap;
use std::io::Read;

use crate::tar::{MemberKind, TarError, TarReader};

/// Most links followed for one path, as in the kernel.
const LINKS_MAX: usize = 40;

/// Numeric owner of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u64,
    pub(crate) gid: u64,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) mode: u32,
    pub(crate) owner: Owner,
}

impl Node {
    /// A folder that no layer describes, as unpackers make it.
    const IMPLIED: Self = Self {
        kind: NodeKind::Folder,
        mode: 0o755,
        owner: Owner { uid: 0, gid: 0 },
    };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Folder,
    /// A file whose content is the member `path` of layer number `layer`.
    File {
        size: u64,
        layer: u32,
        path: Box<[u8]>,
    },
    Symlink(Box<[u8]>),
    Special,
}

/// All paths of a stage; keys have no leading slash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rootfs {
    nodes: BTreeMap<Vec<u8>, Node>,
}

impl Rootfs {
    pub(crate) fn find(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.nodes
            .iter()
            .map(|(path, node)| (path.as_slice(), node))
    }

    /// Whether a folder is there; the root always is.
    pub(crate) fn is_folder(&self, path: &[u8]) -> bool {
        path.is_empty()
            || matches!(
                self.find(path),
                Some(Node {
                    kind: NodeKind::Folder,
                    ..
                })
            )
    }

    /// Adds a path; what is not a folder hides everything that was below.
    pub(crate) fn insert(&mut self, path: Vec<u8>, node: Node) {
        if node.kind != NodeKind::Folder {
            self.remove_below(&path);
        }
        self.nodes.insert(path, node);
    }

    fn remove_below(&mut self, path: &[u8]) {
        let from = [path, b"/"].concat();
        // `0` follows `/` in ASCII, so this is everything with the prefix.
        let to = [path, b"0"].concat();
        let below: Vec<Vec<u8>> = self.nodes.range(from..to).map(|(p, _)| p.clone()).collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }

    /// Applies a layer read from its archive. Whiteouts act on the layers below only, so they
    /// come first, as if they stood at the start.
    pub(crate) fn apply<R: Read>(
        &mut self,
        reader: &mut TarReader<R>,
        layer: u32,
    ) -> Result<(), TarError> {
        let mut added: Vec<(Vec<u8>, Node)> = Vec::new();
        while let Some(member) = reader.next_member()? {
            let (folder, name) = split(&member.path);
            if let Some(hidden) = name.strip_prefix(b".wh.") {
                if hidden == b".wh..opq" {
                    let folder = self.resolve(folder);
                    self.remove_below(&folder);
                } else {
                    let path = crate::context::join(&self.resolve(folder), hidden);
                    self.remove_below(&path);
                    self.nodes.remove(&path);
                }
                continue;
            }
            let kind = match member.kind {
                MemberKind::Folder => NodeKind::Folder,
                MemberKind::File => NodeKind::File {
                    size: member.size,
                    layer,
                    path: member.path.clone().into(),
                },
                MemberKind::Symlink => NodeKind::Symlink(member.link.into()),
                MemberKind::HardLink => {
                    let found = added
                        .iter()
                        .rev()
                        .find(|(path, _)| *path == member.link)
                        .map(|(_, n)| n.kind.clone());
                    match found.or_else(|| self.find(&member.link).map(|n| n.kind.clone())) {
                        Some(kind) => kind,
                        None => continue,
                    }
                }
                MemberKind::Special => NodeKind::Special,
            };
            if !member.path.is_empty() {
                added.push((
                    member.path,
                    Node {
                        kind,
                        mode: member.mode,
                        owner: Owner {
                            uid: member.uid,
                            gid: member.gid,
                        },
                    },
                ));
            }
        }
        for (path, node) in added {
            // An unpacker follows links on the way, so the index does too.
            let (folder, name) = split(&path);
            let folder = self.resolve(folder);
            self.make_folders(&folder);
            self.insert(crate::context::join(&folder, name), node);
        }
        Ok(())
    }

    /// A layer that writes below what is no folder means a folder there.
    fn make_folders(&mut self, path: &[u8]) {
        let mut path = path;
        while !path.is_empty() {
            match self.nodes.get_mut(path) {
                Some(node) if node.kind != NodeKind::Folder => *node = Node::IMPLIED,
                _ => {}
            }
            path = split(path).0;
        }
    }

    /// Where a path really is: links on the way and at its end followed inside the root; what
    /// does not exist stays as written. A loop is cut after [`LINKS_MAX`] links.
    pub(crate) fn resolve(&self, path: &[u8]) -> Vec<u8> {
        let mut todo: Vec<Vec<u8>> = path
            .split(|b| *b == b'/')
            .rev()
            .map(<[u8]>::to_vec)
            .collect();
        let mut at: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = split(&at).0.to_vec();
                    continue;
                }
                _ => {}
            }
            let next = crate::context::join(&at, &part);
            match self.find(&next) {
                Some(Node {
                    kind: NodeKind::Symlink(target),
                    ..
                }) if links < LINKS_MAX => {
                    links += 1;
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    todo.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                }
                _ => at = next,
            }
        }
        at
    }
}

/// Folder and name of a path.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(i) => (&path[..i], &path[i + 1..]),
        None => (b"", path),
    }
}
