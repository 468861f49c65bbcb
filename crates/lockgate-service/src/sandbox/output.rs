//! The program's output: two pipes that B owns, one numbered file with `<ms> <o|e> <line>`.
//!
//! The node only reads the files, so neither its death nor its slowness stops a program. When
//! the disk is full, lines are dropped and counted; the pipes are read on.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::time::{ClockId, clock_gettime};

/// Bytes after which the next file begins.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Files kept, the current one included.
const FILES_MAX: u64 = 4;
/// One read of a pipe; the size of a pipe.
const READ_BYTES: usize = 64 << 10;
/// Longest line; longer ones are cut into several.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Name of the log file with this number.
pub(crate) fn file_name(number: u64) -> String {
    format!("log.{number}")
}

/// Both pipes and the current file.
pub(super) struct Output {
    folder: OwnedFd,
    pipes: [Option<File>; 2],
    /// Begun lines, whose end has not come yet.
    begun: [Vec<u8>; 2],
    file: Option<File>,
    number: u64,
    size: u64,
    dropped: u64,
}

impl Output {
    pub(super) fn new(folder: OwnedFd, pipes: [Option<OwnedFd>; 2]) -> io::Result<Self> {
        for pipe in pipes.iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            folder,
            pipes: pipes.map(|pipe| pipe.map(File::from)),
            begun: [Vec::new(), Vec::new()],
            file: None,
            number: 0,
            size: 0,
            dropped: 0,
        })
    }

    /// The folder of the log, which also takes the exit report.
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// The pipes that are still open, with their index.
    pub(super) fn open_pipes(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.pipes
            .iter()
            .enumerate()
            .filter_map(|(index, pipe)| Some((index, pipe.as_ref()?.as_fd())))
    }

    /// Reads a pipe once. False when there was nothing more to read now.
    pub(super) fn pump(&mut self, index: usize) -> bool {
        let Some(pipe) = self.pipes[index].as_mut() else {
            return false;
        };
        let mut buffer = [0; READ_BYTES];
        match pipe.read(&mut buffer) {
            Ok(0) => {
                self.pipes[index] = None;
                self.end_line(index);
                false
            }
            Ok(length) => {
                self.take(index, &buffer[..length]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.pipes[index] = None;
                false
            }
        }
    }

    /// Takes what the pipes still hold; called when the program has ended.
    pub(super) fn drain(&mut self) {
        for index in 0..self.pipes.len() {
            // A process that outlived the program may go on writing; it has not the right to
            // keep us here.
            for _ in 0..64 {
                if !self.pump(index) {
                    break;
                }
            }
            self.end_line(index);
        }
    }

    fn take(&mut self, index: usize, bytes: &[u8]) {
        let stamp = stamp(index);
        let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 4);
        let begun = &mut self.begun[index];
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in part.chunks(LINE_BYTES_MAX) {
                begun.extend_from_slice(piece);
                let ended = begun.last() == Some(&b'\n');
                if ended || begun.len() >= LINE_BYTES_MAX {
                    text.extend_from_slice(stamp.as_bytes());
                    text.append(begun);
                    if !ended {
                        text.push(b'\n');
                    }
                }
            }
        }
        self.write(&text);
    }

    fn end_line(&mut self, index: usize) {
        if !self.begun[index].is_empty() {
            let mut text = stamp(index).into_bytes();
            text.append(&mut self.begun[index]);
            text.push(b'\n');
            self.write(&text);
        }
    }

    fn write(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        if self.try_write(text).is_err() {
            self.dropped += lines;
            // A new file next time: this one may end in half a line.
            self.file = None;
        }
    }

    fn try_write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.file.is_none() || self.size >= FILE_BYTES_MAX {
            self.next_file()?;
        }
        let Some(file) = self.file.as_mut() else {
            return Ok(());
        };
        if self.dropped > 0 {
            let note = format!("{}lockgate: {} lines dropped\n", stamp(1), self.dropped);
            file.write_all(note.as_bytes())?;
            self.dropped = 0;
        }
        file.write_all(text)?;
        self.size += text.len() as u64;
        Ok(())
    }

    fn next_file(&mut self) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
        let number = self.number + 1;
        let file = openat(
            &self.folder,
            file_name(number),
            flags,
            Mode::from_raw_mode(0o600),
        )?;
        self.file = Some(file.into());
        self.number = number;
        self.size = 0;
        if let Some(old) = number.checked_sub(FILES_MAX).filter(|old| *old > 0) {
            // If it stays, the log is longer than wanted, no more.
            let _ = unlinkat(&self.folder, file_name(old), AtFlags::empty());
        }
        Ok(())
    }
}

/// Milliseconds of wall time, stream, and the blank after each.
fn stamp(index: usize) -> String {
    format!("{} {} ", now_ms(), if index == 0 { 'o' } else { 'e' })
}

/// Wall time. B has no node and so no `Clock`; the node only prints it.
pub(super) fn now_ms() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}
