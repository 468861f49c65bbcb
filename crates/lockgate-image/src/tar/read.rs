//! The distrustful reader: one member at a time, with caps on everything an archive can inflate.

use std::io::{self, Read};

use super::BLOCK;

/// Largest extension header (long name or PAX records).
const EXTENSION_BYTES_MAX: u64 = 1024 * 1024;
/// Longest path or link target; the kernel's own limit.
const PATH_BYTES_MAX: usize = 4096;

/// Caps on one archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Members.
    pub(crate) members: u64,
    /// Bytes after decompression, headers included.
    pub(crate) bytes: u64,
}

impl Default for Limits {
    /// 4 million members, 64 GiB: larger than any image seen, small enough to end.
    fn default() -> Self {
        Self {
            members: 4_000_000,
            bytes: 64 << 30,
        }
    }
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are no tar archive, or one that could mean two things.
    #[error("malformed archive at byte {offset}: {reason}")]
    Malformed {
        /// Where the member starts.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The archive is larger than allowed.
    #[error("archive exceeds the limit of {max} {what}")]
    Limit {
        /// Bytes or members.
        what: &'static str,
        /// The cap.
        max: u64,
    },
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MemberKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A further name of an earlier member.
    HardLink,
    /// A device or a named pipe.
    Special,
}

/// The metadata of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Cleaned path: no leading slash, no `.`, never `..`; empty for the root itself.
    pub(crate) path: Vec<u8>,
    /// What it is.
    pub(crate) kind: MemberKind,
    /// Target of a link: as written for symbolic links, cleaned for hard links.
    pub(crate) link: Vec<u8>,
    /// Permission bits, setuid and sticky included.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u64,
    /// Group.
    pub(crate) gid: u64,
    /// Bytes of content.
    pub(crate) size: u64,
    /// Modification time, seconds since the epoch.
    pub(crate) mtime: i64,
}

/// Overrides from extension headers, for the next member only.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
}

/// Reads members in order. Content is read through [`TarReader::content`] before the next call
/// of [`TarReader::next_member`], which skips what was left.
pub(crate) struct TarReader<R> {
    input: R,
    limits: Limits,
    offset: u64,
    members: u64,
    left: u64,
    padding: u64,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(input: R, limits: Limits) -> Self {
        Self {
            input,
            limits,
            offset: 0,
            members: 0,
            left: 0,
            padding: 0,
        }
    }

    /// The next member, or `None` at the end of the archive.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        self.skip_content()?;
        let mut extension = Extension::default();
        loop {
            let start = self.offset;
            let malformed = |reason| TarError::Malformed {
                offset: start,
                reason,
            };
            let Some(block) = self.header_block()? else {
                return Ok(None);
            };
            let number = |range: std::ops::Range<usize>| {
                parse_number(&block[range]).ok_or_else(|| malformed("a number is malformed"))
            };
            let size = number(124..136)?;
            self.members += 1;
            if self.members > self.limits.members {
                return Err(TarError::Limit {
                    what: "members",
                    max: self.limits.members,
                });
            }
            let flag = block[156];
            if matches!(flag, b'x' | b'g' | b'L' | b'K') {
                let data = self.extension_data(size, start)?;
                match flag {
                    b'x' => parse_pax(&data, &mut extension)
                        .ok_or_else(|| malformed("a PAX record is malformed"))?,
                    b'L' => extension.path = Some(text_field(&data).to_vec()),
                    b'K' => extension.link = Some(text_field(&data).to_vec()),
                    // Global records hold comments (git archive); nothing in them is used.
                    _ => {}
                }
                continue;
            }
            let member = member_of(&block, extension).map_err(malformed)?;
            self.left = member.size;
            self.padding = padding(member.size);
            return Ok(Some(member));
        }
    }

    /// The content of the current member.
    pub(crate) fn content(&mut self) -> Content<'_, R> {
        Content { reader: self }
    }

    /// Reads what follows the end marker, so that a checking reader below sees the end.
    pub(crate) fn drain(mut self) -> Result<(), TarError> {
        self.skip_content()?;
        let mut buffer = [0; 8192];
        loop {
            let n = self.input.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            self.count(n as u64)?;
        }
    }

    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let start = self.offset;
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let n = self.input.read(&mut block[filled..])?;
            if n == 0 {
                break;
            }
            filled += n;
        }
        self.count(filled as u64)?;
        if filled == 0 || (filled == BLOCK && block.iter().all(|b| *b == 0)) {
            return Ok(None);
        }
        if filled < BLOCK {
            return Err(TarError::Malformed {
                offset: start,
                reason: "it ends inside a header",
            });
        }
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(i, b)| {
                if (148..156).contains(&i) {
                    32
                } else {
                    u64::from(*b)
                }
            })
            .sum();
        if parse_number(&block[148..156]) != Some(sum) {
            return Err(TarError::Malformed {
                offset: start,
                reason: "a header checksum is wrong",
            });
        }
        Ok(Some(block))
    }

    fn extension_data(&mut self, size: u64, start: u64) -> Result<Vec<u8>, TarError> {
        if size > EXTENSION_BYTES_MAX {
            return Err(TarError::Malformed {
                offset: start,
                reason: "an extension header is too large",
            });
        }
        self.left = size;
        self.padding = padding(size);
        let mut data = Vec::new();
        self.content().read_to_end(&mut data)?;
        self.skip_content()?;
        Ok(data)
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        let mut left = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        let mut buffer = [0; 16 * 1024];
        while left > 0 {
            let want = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let n = self.input.read(&mut buffer[..want])?;
            if n == 0 {
                return Err(TarError::Malformed {
                    offset: self.offset,
                    reason: "it ends inside a member",
                });
            }
            self.count(n as u64)?;
            left -= n as u64;
        }
        Ok(())
    }

    fn count(&mut self, n: u64) -> Result<(), TarError> {
        self.offset += n;
        if self.offset > self.limits.bytes {
            return Err(TarError::Limit {
                what: "bytes",
                max: self.limits.bytes,
            });
        }
        Ok(())
    }
}

/// The member that a header describes, with the overrides of its extensions.
fn member_of(block: &[u8; BLOCK], mut extension: Extension) -> Result<Member, &'static str> {
    let number =
        |range: std::ops::Range<usize>| parse_number(&block[range]).ok_or("a number is malformed");
    let kind = match block[156] {
        b'0' | 0 | b'7' => MemberKind::File,
        b'1' => MemberKind::HardLink,
        b'2' => MemberKind::Symlink,
        b'3' | b'4' | b'6' => MemberKind::Special,
        b'5' => MemberKind::Folder,
        _ => return Err("a member has an unknown type"),
    };
    let size = if kind == MemberKind::File {
        match extension.size {
            Some(size) => size,
            None => number(124..136)?,
        }
    } else {
        0
    };
    let raw_path = extension.path.take().unwrap_or_else(|| header_path(block));
    let raw_link = extension
        .link
        .take()
        .unwrap_or_else(|| text_field(&block[157..257]).to_vec());
    // Old archives mark a folder by a trailing slash alone.
    let kind = if kind == MemberKind::File && size == 0 && raw_path.ends_with(b"/") {
        MemberKind::Folder
    } else {
        kind
    };
    let path = clean_path(&raw_path).ok_or("a path leaves the archive")?;
    let link = match kind {
        MemberKind::HardLink => clean_path(&raw_link).ok_or("a hard link leaves the archive")?,
        MemberKind::Symlink
            if raw_link.is_empty() || raw_link.len() > PATH_BYTES_MAX || raw_link.contains(&0) =>
        {
            return Err("a symbolic link has no usable target");
        }
        MemberKind::Symlink => raw_link,
        _ => Vec::new(),
    };
    Ok(Member {
        path,
        kind,
        link,
        mode: u32::try_from(number(100..108)? & 0o7777).unwrap_or(0),
        uid: match extension.uid {
            Some(uid) => uid,
            None => number(108..116)?,
        },
        gid: match extension.gid {
            Some(gid) => gid,
            None => number(116..124)?,
        },
        size,
        mtime: match extension.mtime {
            Some(mtime) => mtime,
            None => i64::try_from(number(136..148)?).unwrap_or(0),
        },
    })
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// Reads the content of one member and not a byte more.
pub(crate) struct Content<'a, R> {
    reader: &'a mut TarReader<R>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.reader.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let n = self.reader.input.read(&mut buffer[..want])?;
        if n == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "archive ends inside a member",
            ));
        }
        self.reader.left -= n as u64;
        self.reader.count(n as u64).map_err(io::Error::other)?;
        Ok(n)
    }
}

/// Up to the first NUL.
fn text_field(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or(field)
}

fn header_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text_field(&block[..100]);
    // GNU archives use the prefix area for other fields; their magic differs.
    let prefix = if &block[257..263] == b"ustar\0" {
        text_field(&block[345..500])
    } else {
        b""
    };
    if prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// Octal with blanks and NULs around it, or GNU's base-256; `None` if negative or too large.
fn parse_number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        if field[0] & 0x40 != 0 {
            return None;
        }
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(u64::from(*byte))?;
        }
        return Some(value).filter(|v| i64::try_from(*v).is_ok());
    }
    let digits = field.split(|b| *b == 0).next()?.trim_ascii();
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn parse_pax(mut data: &[u8], extension: &mut Extension) -> Option<()> {
    while !data.is_empty() {
        let space = data.iter().position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
        let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|b| *b == b'=')?;
        let value = &record[equals + 1..];
        let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        match &record[..equals] {
            b"path" => extension.path = Some(value.to_vec()),
            b"linkpath" => extension.link = Some(value.to_vec()),
            b"size" => extension.size = Some(number().filter(|n| i64::try_from(*n).is_ok())?),
            b"uid" => extension.uid = Some(number()?),
            b"gid" => extension.gid = Some(number()?),
            b"mtime" => {
                let text = std::str::from_utf8(value).ok()?;
                extension.mtime = Some(text.split('.').next()?.parse().ok()?);
            }
            // A sparse file's content is not what its size says.
            key if key.starts_with(b"GNU.sparse.") => return None,
            _ => {}
        }
        data = &data[length..];
    }
    Some(())
}

/// Drops `.` and empty components; `None` for `..`, NUL or an overlong path.
pub(crate) fn clean_path(path: &[u8]) -> Option<Vec<u8>> {
    if path.len() > PATH_BYTES_MAX || path.contains(&0) {
        return None;
    }
    let mut clean = Vec::with_capacity(path.len());
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return None,
            name => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(name);
            }
        }
    }
    Some(clean)
}
