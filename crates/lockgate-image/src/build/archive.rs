//! ADD of a local archive: recognised by content, unpacked into the layer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use super::pack::{Content, Placed};
use super::staged::{Spool, Spooled};
use crate::context::{FileRef, Item, ItemKind};
use crate::inflate::{TooLarge, inflate};
use crate::rootfs::Owner;
use crate::tar::{Limits, Member, MemberKind, TarError, TarReader};

/// Whether a file of `size` bytes is an archive: a tar, plain or compressed. A compressed file that
/// holds none is copied, as Docker does; one that may not be decompressed is an error, for nobody
/// can say what it holds.
pub(super) fn recognise(input: Box<dyn Read + Send>, size: u64) -> Result<bool, TarError> {
    let (_, input) = inflate(input, size)?;
    match TarReader::new(input, Limits::default()).next_member() {
        Ok(first) => Ok(first.is_some()),
        Err(TarError::Io(e)) if TooLarge::caused(&e) => Err(e.into()),
        Err(_) => Ok(false),
    }
}

/// Unpacks into the spool; gives items relative to the destination. Later members replace
/// earlier ones of the same path; hard links become files of their own.
pub(super) fn expand(
    input: Box<dyn Read + Send>,
    size: u64,
    spool: &mut Spool,
) -> Result<Vec<Placed<'static>>, TarError> {
    let (_, input) = inflate(input, size)?;
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
            owner: Owner {
                uid: member.uid,
                gid: member.gid,
            },
        }),
        content: spooled.map(|(start, size, hash)| (Content::Spool(start), size, hash)),
        unpacked: true,
    }
}
