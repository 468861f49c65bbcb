//! Layers with hostile members, unpacked to a real folder: nothing outside it changes, and the
//! index that builds use agrees with what is there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{self, Mode, OFlags};

use super::LIMITS;
use crate::rootfs::{NodeKind, Rootfs};
use crate::tar::TarReader;
use crate::unpack::{Owners, Unpacker};

/// Names that meet each other often.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "a b"];
/// Members of one layer.
const MEMBERS_MAX: u8 = 12;
/// Layers of one image.
const LAYERS: usize = 2;
/// What lies beside the root and must stay as it is.
const CANARY: &str = "untouched";

/// Makes layers of the bytes and unpacks them.
pub fn layers(bytes: &[u8]) {
    let mut choices = Choices {
        bytes,
        linked: false,
    };
    let archives: Vec<Vec<u8>> = (0..LAYERS).map(|_| choices.layer()).collect();
    let outside = tempfile::tempdir_in(scratch()).expect("a folder");
    let canary = outside.path().join("a");
    let mut file = std::fs::File::create(&canary).expect("a file");
    file.write_all(CANARY.as_bytes()).expect("written");
    let dest = outside.path().join("root");
    std::fs::create_dir(&dest).expect("a folder");

    let good = unpack(&dest, &archives).is_ok();

    let names: Vec<_> = outside.path().read_dir().expect("a folder").collect();
    assert_eq!(names.len(), 2, "something was written beside the root");
    let text = fs_err::read_to_string(&canary).expect("the canary");
    assert_eq!(text, CANARY, "the canary changed");
    let found = tree(&dest);
    assert!(
        found.values().all(|what| *what != What::Other),
        "a device was made"
    );
    // Of layers that write through links to nothing the two make different things of equal worth.
    if good && !choices.linked {
        let (expected, all) = (index(&archives), |_: &_| true);
        let is_leaf = |what: &What| *what != What::Folder;
        assert_eq!(only(&found, is_leaf), only(&expected, is_leaf));
        // The unpacker also makes folders for what is removed again.
        let there = only(&found, all);
        assert!(
            only(&expected, all)
                .iter()
                .all(|entry| there.contains(entry))
        );
    }
}

/// The entries of a kind, in order.
fn only(tree: &BTreeMap<Vec<u8>, What>, is: impl Fn(&What) -> bool) -> Vec<(&Vec<u8>, &What)> {
    tree.iter().filter(|(_, what)| is(what)).collect()
}

/// Memory, where there is a file system in it: the target makes many small files.
fn scratch() -> std::path::PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

fn unpack(dest: &Path, archives: &[Vec<u8>]) -> std::io::Result<()> {
    let root = fs::open(dest, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut unpacker = Unpacker::new(&root, Owners::Caller);
    for archive in archives {
        let mut reader = TarReader::new(archive.as_slice(), LIMITS);
        unpacker.begin_layer();
        while let Some(member) = reader.next_member().map_err(std::io::Error::other)? {
            unpacker.apply(&member, &mut reader.content())?;
        }
    }
    unpacker.finish()
}

/// What is at a path, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Folder,
    File(u64),
    Link(Vec<u8>),
    Other,
}

/// What was unpacked, by path.
fn tree(root: &Path) -> BTreeMap<Vec<u8>, What> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in folder.read_dir().expect("a folder of ours") {
            let path = entry.expect("an entry").path();
            let facts = path.symlink_metadata().expect("it is there");
            let what = if facts.is_dir() {
                todo.push(path.clone());
                What::Folder
            } else if facts.is_file() {
                What::File(facts.len())
            } else if facts.is_symlink() {
                let target = path.read_link().expect("a link");
                What::Link(target.as_os_str().as_bytes().to_vec())
            } else {
                What::Other
            };
            let inner = path.strip_prefix(root).expect("below the root");
            found.insert(inner.as_os_str().as_bytes().to_vec(), what);
        }
    }
    found
}

/// What the index says, with the folders that it leaves out.
fn index(archives: &[Vec<u8>]) -> BTreeMap<Vec<u8>, What> {
    let mut rootfs = Rootfs::default();
    for (number, archive) in archives.iter().enumerate() {
        let mut reader = TarReader::new(archive.as_slice(), LIMITS);
        let number = u32::try_from(number).expect("few layers");
        rootfs.apply(&mut reader, number).expect("it was unpacked");
    }
    let mut found = BTreeMap::new();
    for (path, node) in rootfs.iter() {
        let what = match &node.kind {
            NodeKind::Folder => Some(What::Folder),
            NodeKind::File { size, .. } => Some(What::File(*size)),
            NodeKind::Symlink(target) => Some(What::Link(target.to_vec())),
            // Not unpacked; the folder that it is in is.
            NodeKind::Special => None,
        };
        found.extend(what.map(|what| (path.to_vec(), what)));
        for above in Path::new(OsStr::from_bytes(path)).ancestors().skip(1) {
            let above = above.as_os_str().as_bytes();
            if !above.is_empty() {
                found.entry(above.to_vec()).or_insert(What::Folder);
            }
        }
    }
    found
}

/// Reads choices from the bytes; zeros when they end.
struct Choices<'b> {
    bytes: &'b [u8],
    /// A symbolic link was made.
    linked: bool,
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let first = self.bytes.first().copied().unwrap_or(0);
        self.bytes = self.bytes.get(1..).unwrap_or_default();
        first
    }

    fn path(&mut self) -> String {
        let parts = 1 + self.byte() % 3;
        let names: Vec<&str> = (0..parts)
            .map(|_| NAMES[usize::from(self.byte()) % NAMES.len()])
            .collect();
        names.join("/")
    }

    /// A link's target, which may climb or begin at the root.
    fn target(&mut self) -> String {
        let start = ["", "/", "../", "../../", "./", "/../"];
        let start = start[usize::from(self.byte()) % start.len()];
        format!("{start}{}", self.path())
    }

    /// An archive. Whiteouts come first: they are about the layers below.
    fn layer(&mut self) -> Vec<u8> {
        let (mut whiteouts, mut members) = (Vec::new(), Vec::new());
        for _ in 0..self.byte() % MEMBERS_MAX {
            match self.byte() % 8 {
                0 | 1 => put(&mut members, b'0', &self.path(), "", &[b'x'; 3]),
                2 => put(&mut members, b'5', &self.path(), "", b""),
                3 | 4 => {
                    self.linked = true;
                    let path = self.path();
                    put(&mut members, b'2', &path, &self.target(), b"");
                }
                5 => {
                    let path = self.path();
                    put(&mut members, b'1', &path, &self.path(), b"");
                }
                6 => put(&mut members, b'3', &self.path(), "", b""),
                _ => {
                    let path = self.path();
                    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
                    let mark = if self.byte() & 1 == 0 {
                        format!("{folder}/.wh.{name}")
                    } else {
                        format!("{path}/.wh..wh..opq")
                    };
                    put(&mut whiteouts, b'0', &mark, "", b"");
                }
            }
        }
        [whiteouts, members, vec![0; 1024]].concat()
    }
}

/// Appends a member as old archivers write it.
fn put(out: &mut Vec<u8>, flag: u8, path: &str, link: &str, content: &[u8]) {
    let mut block = [0_u8; 512];
    let mut field = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    field(0, path.as_bytes());
    field(100, b"0000755");
    field(108, b"0000000");
    field(116, b"0000000");
    field(124, format!("{:011o}", content.len()).as_bytes());
    field(136, b"00000000000");
    field(148, b"        ");
    field(156, &[flag]);
    field(157, link.as_bytes());
    field(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend_from_slice(&block);
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
}
