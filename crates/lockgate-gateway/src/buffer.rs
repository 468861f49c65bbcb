//! Byte buffers of a core. Idle connections hold none.

/// Size of a fresh buffer: fits a head and a small body.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;
/// Size of a buffer for a large body: fewer, larger reads are what makes large bodies cheap.
pub(crate) const LARGE_BYTES: usize = 128 * 1024;
/// Buffers of each size kept for reuse; more are freed.
const KEPT_SMALL: usize = 256;
const KEPT_LARGE: usize = 16;

/// Bytes that were read and not yet used.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The unused bytes.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for the next read, after moving unused bytes to the front if there is none left
    /// behind them. Empty when the buffer is full.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end == self.data.len() && self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.data[self.end..]
    }

    /// Whether [`Buffer::spare`] would give room.
    pub(crate) fn has_spare(&self) -> bool {
        self.end - self.start < self.data.len()
    }

    /// Takes over `n` bytes that were read into the spare room.
    pub(crate) fn commit(&mut self, n: usize) {
        self.end += n;
    }

    /// Drops the first `n` unused bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
    }

    /// Makes the buffer at least `size` bytes large.
    pub(crate) fn grow(&mut self, size: usize) {
        if self.data.len() < size {
            self.data.resize(size, 0);
        }
    }
}

/// The free buffers of one core.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer of [`SMALL_BYTES`].
    pub(crate) fn take(&mut self) -> Buffer {
        Buffer {
            data: self.small.pop().unwrap_or_else(|| vec![0; SMALL_BYTES]),
            ..Buffer::default()
        }
    }

    /// Replaces `buffer` by one of [`LARGE_BYTES`] with the same unused bytes.
    pub(crate) fn enlarge(&mut self, buffer: &mut Buffer) {
        if buffer.data.len() >= LARGE_BYTES {
            return;
        }
        let mut data = self.large.pop().unwrap_or_else(|| vec![0; LARGE_BYTES]);
        let filled = buffer.filled();
        data[..filled.len()].copy_from_slice(filled);
        let large = Buffer {
            data,
            start: 0,
            end: filled.len(),
        };
        self.give(std::mem::replace(buffer, large));
    }

    /// Takes a buffer back. Odd sizes are freed.
    pub(crate) fn give(&mut self, buffer: Buffer) {
        let (list, kept) = match buffer.data.len() {
            SMALL_BYTES => (&mut self.small, KEPT_SMALL),
            LARGE_BYTES => (&mut self.large, KEPT_LARGE),
            _ => return,
        };
        if list.len() < kept {
            list.push(buffer.data);
        }
    }
}
