//! The deterministic writer.

use std::io::{self, Read, Write};

use super::BLOCK;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderKind<'a> {
    /// A file of this many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link to this target.
    Symlink(&'a [u8]),
}

/// All metadata of a member; nothing else reaches the archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    /// Path without a leading or trailing slash.
    pub(crate) path: &'a [u8],
    /// What it is.
    pub(crate) kind: HeaderKind<'a>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u64,
    /// Group.
    pub(crate) gid: u64,
    /// Modification time, seconds since the epoch.
    pub(crate) mtime: i64,
}

/// Writes members in the order given and two zero blocks at the end.
pub(crate) struct TarWriter<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// Copy buffer: large enough that system calls do not matter.
    const BUFFER_BYTES: usize = 128 * 1024;

    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            buffer: vec![0; Self::BUFFER_BYTES],
        }
    }

    /// Writes one member. `content` must yield exactly the size in the header.
    pub(crate) fn append(&mut self, header: &Header<'_>, content: &mut dyn Read) -> io::Result<()> {
        let mut head = Vec::with_capacity(3 * BLOCK);
        encode(header, &mut head);
        self.out.write_all(&head)?;
        let HeaderKind::File(size) = header.kind else {
            return Ok(());
        };
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            let n = content.read(&mut self.buffer[..want])?;
            if n == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "file became shorter",
                ));
            }
            self.out.write_all(&self.buffer[..n])?;
            left -= n as u64;
        }
        if content.read(&mut self.buffer[..1])? != 0 {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "file became longer",
            ));
        }
        self.out.write_all(&[0; BLOCK][..padding(size)])
    }

    /// Ends the archive and gives back what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

/// Largest number that fits an octal field of 7 and of 11 digits.
const OCTAL_7: u64 = 0o7_777_777;
const OCTAL_11: u64 = 0o77_777_777_777;

fn encode(header: &Header<'_>, out: &mut Vec<u8>) {
    let mut path = header.path.to_vec();
    let (flag, link, size): (u8, &[u8], u64) = match header.kind {
        HeaderKind::File(size) => (b'0', b"", size),
        HeaderKind::Folder => {
            path.push(b'/');
            (b'5', b"", 0)
        }
        HeaderKind::Symlink(target) => (b'2', target, 0),
    };
    let mut pax = Vec::new();
    let split = split_path(&path);
    if split.is_none() {
        pax_record(&mut pax, "path", &path);
    }
    if link.len() > 100 {
        pax_record(&mut pax, "linkpath", link);
    }
    for (name, value, max) in [
        ("size", size, OCTAL_11),
        ("uid", header.uid, OCTAL_7),
        ("gid", header.gid, OCTAL_7),
    ] {
        if value > max {
            pax_record(&mut pax, name, value.to_string().as_bytes());
        }
    }
    let mtime = u64::try_from(header.mtime).unwrap_or(0).min(OCTAL_11);
    if !pax.is_empty() {
        let raw = Raw {
            prefix: b"",
            name: b"pax",
            link: b"",
            flag: b'x',
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: pax.len() as u64,
            mtime,
        };
        out.extend_from_slice(&raw.block());
        out.extend_from_slice(&pax);
        out.extend(std::iter::repeat_n(0, padding(pax.len() as u64)));
    }
    let (prefix, name) = split.unwrap_or((b"", &path[..path.len().min(100)]));
    let fit = |value: u64, max: u64| if value > max { 0 } else { value };
    let raw = Raw {
        prefix,
        name,
        link: &link[..link.len().min(100)],
        flag,
        mode: header.mode & 0o7777,
        uid: fit(header.uid, OCTAL_7),
        gid: fit(header.gid, OCTAL_7),
        size: fit(size, OCTAL_11),
        mtime,
    };
    out.extend_from_slice(&raw.block());
}

/// Splits a path into ustar's prefix and name, at the last slash that fits; `None` if none does.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    (1..path.len().min(156))
        .rev()
        .find(|i| path[*i] == b'/' && path.len() - i - 1 <= 100 && i + 1 < path.len())
        .map(|i| (&path[..i], &path[i + 1..]))
}

/// One `length key=value` record, whose length counts its own digits.
fn pax_record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body + body.to_string().len();
    if length.to_string().len() + body != length {
        length = body + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

struct Raw<'a> {
    prefix: &'a [u8],
    name: &'a [u8],
    link: &'a [u8],
    flag: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
}

impl Raw<'_> {
    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..self.name.len()].copy_from_slice(self.name);
        octal(&mut block[100..108], u64::from(self.mode));
        octal(&mut block[108..116], self.uid);
        octal(&mut block[116..124], self.gid);
        octal(&mut block[124..136], self.size);
        octal(&mut block[136..148], self.mtime);
        block[148..156].fill(b' ');
        block[156] = self.flag;
        block[157..157 + self.link.len()].copy_from_slice(self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[345..345 + self.prefix.len()].copy_from_slice(self.prefix);
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        octal(&mut block[148..155], u64::from(sum));
        block
    }
}

/// Octal digits, zero padded, ending in NUL.
fn octal(field: &mut [u8], mut value: u64) {
    let digits = field.len() - 1;
    for slot in field[..digits].iter_mut().rev() {
        *slot = b'0' + u8::try_from(value & 7).unwrap_or(0);
        value >>= 3;
    }
    field[digits] = 0;
}
