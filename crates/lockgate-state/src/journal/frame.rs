//! Records of a journal file. Pure.
//!
//! A frame is a header of 44 bytes, little-endian, and a payload:
//! `length u32 · sequence u64 · fencing u64 · durable u64 · checksum [16]`. The checksum is a
//! shortened BLAKE3 of everything else in the frame. `durable` is the number of bytes of the
//! file that had reached the disk when the frame was made. It tells two kinds of damage apart: a
//! broken frame at or after every `durable` seen later was never acknowledged and is cut off; one
//! before was, and the file is refused.

use std::ops::Range;

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 44;
/// The longest payload; a resource with a property of 100 MB fits.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 512 << 20;
const CHECKSUM_BYTES: usize = 16;
const CHECKED_BYTES: usize = HEADER_BYTES - CHECKSUM_BYTES;

/// Appends a frame to `out`.
pub(crate) fn encode_frame(
    out: &mut Vec<u8>,
    sequence: u64,
    fencing: u64,
    durable: u64,
    payload: &[u8],
) {
    let start = out.len();
    // The caller refuses longer payloads, so the length fits.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    for number in [sequence, fencing, durable] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let sum = checksum(&out[start..], payload);
    out.extend_from_slice(&sum);
    out.extend_from_slice(payload);
}

fn checksum(header: &[u8], payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header).update(payload);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    sum
}

struct Frame {
    sequence: u64,
    durable: u64,
    payload: Range<usize>,
}

/// The frame at `at`, if there is a whole and unharmed one of this run.
fn frame_at(bytes: &[u8], at: usize, fencing: u64) -> Option<Frame> {
    let header = bytes.get(at..at.checked_add(HEADER_BYTES)?)?;
    let number = |offset: usize| -> Option<u64> {
        Some(u64::from_le_bytes(
            header.get(offset..offset + 8)?.try_into().ok()?,
        ))
    };
    let length = u32::from_le_bytes(header.get(..4)?.try_into().ok()?) as usize;
    if length > PAYLOAD_BYTES_MAX || number(12)? != fencing {
        return None;
    }
    let start = at + HEADER_BYTES;
    let payload = start..start.checked_add(length)?;
    let sum = checksum(&header[..CHECKED_BYTES], bytes.get(payload.clone())?);
    (sum == header[CHECKED_BYTES..]).then_some(Frame {
        sequence: number(4)?,
        durable: number(20)?,
        payload,
    })
}

/// What a journal file holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Payloads in order.
    pub(crate) payloads: Vec<Range<usize>>,
    /// Bytes after the last whole frame.
    pub(crate) rest: usize,
    /// Where an acknowledged frame is broken.
    pub(crate) damaged_at: Option<usize>,
}

/// Finds the frames of the run `fencing`, up to the end or the first broken one.
pub(crate) fn scan(bytes: &[u8], fencing: u64) -> Scan {
    let mut payloads = Vec::new();
    let mut at = 0;
    while let Some(frame) = frame_at(bytes, at, fencing) {
        if frame.sequence != payloads.len() as u64 {
            break;
        }
        at = frame.payload.end;
        payloads.push(frame.payload);
    }
    Scan {
        payloads,
        rest: bytes.len() - at,
        damaged_at: was_durable(bytes, at, fencing).then_some(at),
    }
}

/// Whether a later whole frame says that the byte at `at` had reached the disk.
fn was_durable(bytes: &[u8], at: usize, fencing: u64) -> bool {
    let mut next = at;
    while next < bytes.len() {
        match frame_at(bytes, next, fencing) {
            Some(frame) if frame.durable > at as u64 => return true,
            Some(frame) => next = frame.payload.end,
            None => next += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests;
