//! Damage to the files of a ledger, and which of their entries it touches.

use std::ops::Range;
use std::path::{Path, PathBuf};

use lockgate_model::ai::LedgerEntry;

use super::choices::Choices;
use crate::ledger::record::{self, HEADER_BYTES, SharedTerms};

/// Most acts of damage.
const ACTS_MAX: u32 = 12;
/// Bytes behind the last entry that damage reaches.
const BEHIND: usize = 64;
/// Most bytes that are put in at once.
const GARBAGE_MAX: usize = 64;
/// A kind of entry that no release has written yet.
const KIND_UNKNOWN: u8 = 9;

/// A file as it was written, and as it became.
pub(super) struct Segment {
    path: PathBuf,
    /// The bytes, each with the place where it was written; none for those of the damage.
    bytes: Vec<(u8, Option<usize>)>,
    frames: Vec<Frame>,
}

struct Frame {
    place: Range<usize>,
    bytes: Vec<u8>,
    number: u64,
    entry: LedgerEntry,
}

impl Segment {
    /// The segments in `folder`, which are whole.
    pub(super) fn read_all(folder: &Path) -> Vec<Self> {
        let files = fs_err::read_dir(folder).expect("the folder of a ledger");
        let mut paths: Vec<PathBuf> = files.map(|f| f.expect("a file").path()).collect();
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Self {
        let bytes = fs_err::read(&path).expect("a segment");
        let (mut frames, mut at) = (Vec::new(), 0);
        while let Some((size, number, body)) = record::frame(&bytes[at..]) {
            let entry = record::decode(body, &mut SharedTerms::default());
            frames.push(Frame {
                place: at..at + size,
                bytes: bytes[at..at + size].to_vec(),
                number,
                entry: entry.expect("an entry of ours"),
            });
            at += size;
        }
        let bytes = bytes.into_iter().zip((0..).map(Some)).collect();
        Self {
            path,
            bytes,
            frames,
        }
    }

    pub(super) fn write(&self) {
        let bytes: Vec<u8> = self.bytes.iter().map(|(byte, _)| *byte).collect();
        fs_err::write(&self.path, bytes).expect("a segment is written");
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, LedgerEntry)> {
        let entry = |frame: &Frame| (frame.number, frame.entry.clone());
        self.frames.iter().map(entry)
    }

    /// Numbers of entries that no damage touched and that are not among those that were found.
    pub(super) fn lost(&self, found: &[u64]) -> impl Iterator<Item = u64> {
        let missing = self.frames.iter().filter(|f| !found.contains(&f.number));
        let lost = missing.filter(|frame| {
            let place = self.find(&frame.place);
            place.is_some_and(|place| !self.is_overlaid(place))
        });
        lost.map(|frame| frame.number)
    }

    /// Whether another entry reaches over this place: one that was cut short is whole again when
    /// what follows it happens to begin as it ended.
    fn is_overlaid(&self, place: usize) -> bool {
        self.frames.iter().any(|frame| {
            let first = (place + 1).saturating_sub(frame.bytes.len());
            (first..place).any(|at| self.has(at, &frame.bytes))
        })
    }

    fn has(&self, at: usize, bytes: &[u8]) -> bool {
        let here = self.bytes[at..].iter().map(|b| b.0);
        self.bytes.len() - at >= bytes.len() && here.take(bytes.len()).eq(bytes.iter().copied())
    }

    /// Whether there is more than the entries that were found.
    pub(super) fn is_damaged(&self, found: &[u64]) -> bool {
        let mut rest: Vec<u8> = self.bytes.iter().map(|b| b.0).collect();
        for frame in self.frames.iter().filter(|f| found.contains(&f.number)) {
            let anywhere = || (0..self.bytes.len()).find(|at| self.has(*at, &frame.bytes));
            if let Some(at) = self.find(&frame.place).or_else(anywhere) {
                rest[at..at + frame.bytes.len()].fill(0);
            }
        }
        rest.iter().any(|byte| *byte != 0)
    }

    /// Where what was written at `place` is now, if it is whole.
    fn find(&self, place: &Range<usize>) -> Option<usize> {
        let first = self.bytes.iter().position(|b| b.1 == Some(place.start))?;
        let now = self.bytes.get(first..first + place.len())?;
        let same = now.iter().map(|b| b.1).eq(place.clone().map(Some));
        same.then_some(first)
    }

    /// Somewhere in what is left of the entries, or just behind.
    fn range(&self, choices: &mut Choices<'_>) -> Range<usize> {
        let written = self.frames.last().map_or(0, |frame| frame.place.end);
        let end = self.bytes.len().min(written + BEHIND);
        let start = choices.place(end + 1);
        start..(start + 1 + usize::from(choices.byte())).min(end.max(start))
    }

    fn frame(&self, choices: &mut Choices<'_>) -> Option<(usize, &Frame)> {
        let frame = self.frames.get(choices.place(self.frames.len().max(1)))?;
        Some((self.find(&frame.place)?, frame))
    }
}

/// What has been done to the files.
#[derive(Default)]
pub(super) struct Harm {
    acts: u32,
    misplaced: bool,
}

impl Harm {
    pub(super) fn is_none(&self) -> bool {
        self.acts == 0
    }

    /// Whether whole entries stand where they were not written: they are no damage by themselves,
    /// and may hide what they were put before.
    pub(super) fn is_misplaced(&self) -> bool {
        self.misplaced
    }

    /// Does one more damage; false when there is enough.
    pub(super) fn next(&mut self, choices: &mut Choices<'_>, segments: &mut [Segment]) -> bool {
        if choices.is_empty() || self.acts == ACTS_MAX {
            return false;
        }
        let act = choices.byte();
        if act == 0 {
            return false;
        }
        let segment = choices.place(segments.len());
        let segment = &mut segments[segment];
        self.acts += 1;
        let range = segment.range(choices);
        match act % 8 {
            1 => {
                let change = choices.byte().max(1);
                for byte in segment.bytes[range].iter_mut().take(1) {
                    *byte = (byte.0 ^ change, None);
                }
            }
            2 => drop(segment.bytes.drain(range)),
            3 => segment.bytes[range].fill((0, None)),
            4 => segment.bytes.truncate(range.start),
            5 => {
                let garbage = choices.take(range.len().min(GARBAGE_MAX));
                let garbage = garbage.iter().map(|byte| (*byte, None));
                segment.bytes.splice(range.start..range.start, garbage);
            }
            6 => {
                let tail = range.start..segment.bytes.len();
                segment.bytes[tail].fill((0, None));
            }
            7 => {
                // An entry twice.
                let Some((at, frame)) = segment.frame(choices) else {
                    return true;
                };
                let copy = segment.bytes[at..at + frame.place.len()].to_vec();
                let copy = copy.into_iter().map(|(byte, _)| (byte, None));
                segment.bytes.splice(range.start..range.start, copy);
                self.misplaced = true;
            }
            _ => segment.foreign(choices),
        }
        true
    }
}

impl Segment {
    /// Makes an entry one of a later release.
    fn foreign(&mut self, choices: &mut Choices<'_>) {
        let Some((at, frame)) = self.frame(choices) else {
            return;
        };
        let (number, place) = (frame.number, at..at + frame.place.len());
        let mut bytes: Vec<u8> = self.bytes[place.clone()].iter().map(|b| b.0).collect();
        bytes[HEADER_BYTES] = KIND_UNKNOWN;
        record::seal(&mut bytes, number);
        self.bytes
            .splice(place, bytes.into_iter().map(|byte| (byte, None)));
    }
}
