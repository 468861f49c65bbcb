//! ADD of a local archive: recognised by content, unpacked into the layer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::pack::{Content, Owner, Placed};
use super::staged::{Spool, Spooled};
use crate::context::{FileRef, Item, ItemKind};
use crate::tar::{Limits, Member, MemberKind, TarError, TarReader};

/// What a source of ADD is, by its first bytes.
pub(super) enum Archive {
    /// Not an archive: copied as it is.
    No,
    /// A tar archive.
    Tar,
    /// A gzip-compressed tar archive.
    Gzip,
    /// An archive of a format that is not unpacked in process.
    Unsupported(&'static str),
}

/// Compressed formats without a decoder here, by their magic bytes.
const UNSUPPORTED: [(&[u8], &str); 3] = [
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
];

/// Looks at the start of a file. A compressed file that holds no archive is copied, as Docker
/// does; for formats without a decoder that cannot be known.
pub(super) fn recognise(mut input: Box<dyn Read + Send>) -> io::Result<Archive> {
    let mut head = Vec::new();
    input.by_ref().take(64 * 1024).read_to_end(&mut head)?;
    if let Some((_, name)) = UNSUPPORTED
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
    {
        return Ok(Archive::Unsupported(name));
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        let is_tar = starts_as_tar(MultiGzDecoder::new(&head[..]));
        return Ok(if is_tar { Archive::Gzip } else { Archive::No });
    }
    Ok(if starts_as_tar(&head[..]) {
        Archive::Tar
    } else {
        Archive::No
    })
}

/// Whether the first header is sound; an empty file is no archive.
fn starts_as_tar(input: impl Read) -> bool {
    matches!(
        TarReader::new(input, Limits::default()).next_member(),
        Ok(Some(_))
    )
}

/// Unpacks into the spool; gives items relative to the destination. Later members replace
/// earlier ones of the same path; hard links become files of their own.
pub(super) fn expand(
    archive: &Archive,
    input: Box<dyn Read + Send>,
    spool: &mut Spool,
) -> Result<Vec<Placed<'static>>, TarError> {
    let input: Box<dyn Read + Send> = match archive {
        Archive::Gzip => Box::new(io::BufReader::new(MultiGzDecoder::new(input))),
        _ => input,
    };
    let mut reader = TarReader::new(input, Limits::default());
    let mut members: BTreeMap<Vec<u8>, (Member, Option<Spooled>)> = BTreeMap::new();
    while let Some(mut member) = reader.next_member()? {
        let spooled = match member.kind {
            MemberKind::File => Some(spool.append(&mut reader.content())?),
            MemberKind::HardLink => {
                let Some((target, spooled)) = members.get(&member.link) else {
                    continue;
                };
                (member.mode, member.kind, member.link) =
                    (target.mode, target.kind, target.link.clone());
                *spooled
            }
            MemberKind::Folder | MemberKind::Symlink => None,
            // Devices of an archive are not wanted in an image.
            MemberKind::Special => continue,
        };
        members.insert(member.path.clone(), (member, spooled));
    }
    reader.drain()?;
    Ok(members
        .into_values()
        .map(|(member, spooled)| placed(member, spooled))
        .collect())
}

fn placed(member: Member, spooled: Option<Spooled>) -> Placed<'static> {
    let kind = match member.kind {
        MemberKind::Symlink => ItemKind::Symlink(member.link),
        MemberKind::Folder => ItemKind::Folder,
        // The reference is unused: the content is in the spool.
        _ => ItemKind::File(FileRef {
            folder: 0,
            entry: 0,
        }),
    };
    Placed {
        item: Cow::Owned(Item {
            path: member.path,
            kind,
            mode: member.mode,
        }),
        content: spooled.map(|(start, size, hash)| (Content::Spool(start), size, hash)),
        owner: Some(Owner {
            uid: member.uid,
            gid: member.gid,
        }),
    }
}
