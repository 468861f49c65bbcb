//! Decompression: formats are recognised by their first bytes, decoded as a stream, and bounded:
//! a window that a header may ask for, and how much a small input may become.

mod zstd;

use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

/// Memory that a header may ask for. `zstd` itself refuses more unless told otherwise, and twice
/// what the highest preset of `xz` uses.
const WINDOW_BYTES_MAX: u64 = 128 << 20;
/// What every input may become, however small it is.
const EXPANDED_BYTES_MIN: u64 = 1 << 30;
/// Beyond that, this many times its size. The best that gzip can do is 1,032, so no gzip archive
/// is ever refused; what the others do with zeros is a thousand times that.
const EXPANSION_MAX: u64 = 1_100;
/// Bytes read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// How a stream of bytes is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// First bytes of each format.
const MAGIC: [(&[u8], Compression); 4] = [
    (b"\x1f\x8b", Compression::Gzip),
    (b"BZh", Compression::Bzip2),
    (b"\xfd7zXZ\0", Compression::Xz),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
];

impl Compression {
    /// By the first bytes; a short `head` may hide a format.
    pub(crate) fn of(head: &[u8]) -> Self {
        // A frame to skip may come first: parallel compressors write one.
        if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] = head {
            return Self::Zstd;
        }
        MAGIC
            .iter()
            .find(|(magic, _)| head.starts_with(magic))
            .map_or(Self::None, |(_, compression)| *compression)
    }
}

/// A stream asks for more than it may have. Travels inside of an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooLarge {
    /// To go on, the decoder would have to hold more than the cap.
    #[error("it needs more than {} MiB of memory to be decompressed", .max >> 20)]
    Window { max: u64 },
    /// It has become larger than anything honest.
    #[error("it expands to more than {max} bytes, more than archives of its size do")]
    Expanded { max: u64 },
}

impl TooLarge {
    /// Whether this is why reading failed.
    pub(crate) fn caused(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl From<TooLarge> for io::Error {
    fn from(error: TooLarge) -> Self {
        Self::other(error)
    }
}

/// Looks at the first bytes of `input`, which has `size` bytes, and gives it decompressed. The
/// input is read to its end before the result ends.
pub(crate) fn inflate(
    input: impl Read + Send + 'static,
    size: u64,
) -> io::Result<(Compression, Box<dyn Read + Send>)> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let compression = Compression::of(input.fill_buf()?);
    let max = EXPANDED_BYTES_MIN.max(size.saturating_mul(EXPANSION_MAX));
    let decoded: Box<dyn Read + Send> = match compression {
        Compression::None => return Ok((compression, Box::new(input))),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Bzip2 => Box::new(MultiBzDecoder::new(input)),
        Compression::Xz => {
            let kib = u32::try_from(WINDOW_BYTES_MAX >> 10).unwrap_or(u32::MAX);
            Box::new(XzReader::new_mem_limit(input, true, kib))
        }
        Compression::Zstd => Box::new(zstd::Reader::new(input, WINDOW_BYTES_MAX)),
    };
    let bounded = Bounded {
        input: decoded,
        left: max,
        max,
    };
    Ok((
        compression,
        Box::new(BufReader::with_capacity(BUFFER_BYTES, bounded)),
    ))
}

/// Ends a stream that has become too large.
struct Bounded {
    input: Box<dyn Read + Send>,
    left: u64,
    max: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer).map_err(|e| match e.kind() {
            // What the decoder of xz says of a header that asks for too much.
            io::ErrorKind::OutOfMemory => TooLarge::Window {
                max: WINDOW_BYTES_MAX,
            }
            .into(),
            _ => e,
        })?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => return Err(TooLarge::Expanded { max: self.max }.into()),
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
