//! Reads the numbered log files of an instance.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::timestamp_of_ms;
use crate::platform::{LogChunk, LogCursor, LogFrom, LogLine, LogStream};
use crate::sandbox::output::file_name;

/// Most lines of one answer.
const LINES_MAX: usize = 1000;
/// Most bytes looked at for one answer.
const BYTES_MAX: u64 = 4 << 20;

/// Reads lines; only whole ones, so that a line is never told in two parts.
pub(super) fn read(folder: &Path, from: LogFrom) -> io::Result<LogChunk> {
    let numbers = numbers(folder)?;
    match from {
        LogFrom::After(cursor) => after(folder, &numbers, cursor),
        LogFrom::Last(count) => last(folder, &numbers, count.min(LINES_MAX)),
    }
}

/// Numbers of the files that are there, lowest first.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("log."));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn after(folder: &Path, numbers: &[u64], cursor: LogCursor) -> io::Result<LogChunk> {
    let mut chunk = LogChunk {
        lines: Vec::new(),
        next: cursor,
    };
    for number in numbers
        .iter()
        .copied()
        .filter(|number| *number >= cursor.file)
    {
        if number > chunk.next.file {
            chunk.next = LogCursor {
                file: number,
                offset: 0,
            };
        }
        let bytes = read_from(folder, chunk.next)?;
        for line in whole_lines(&bytes) {
            if chunk.lines.len() >= LINES_MAX {
                return Ok(chunk);
            }
            chunk.next.offset += line.len() as u64;
            chunk.lines.extend(parse(line));
        }
        if bytes.len() as u64 == BYTES_MAX {
            return Ok(chunk);
        }
    }
    Ok(chunk)
}

fn last(folder: &Path, numbers: &[u64], count: usize) -> io::Result<LogChunk> {
    let mut chunk = LogChunk::default();
    for number in numbers.iter().rev().copied() {
        let path = folder.join(file_name(number));
        let length = fs_err::metadata(path)?.len();
        let mut offset = length.saturating_sub(BYTES_MAX);
        let mut bytes = read_from(
            folder,
            LogCursor {
                file: number,
                offset,
            },
        )?;
        if offset > 0 {
            // The first line may be cut.
            let begin = bytes
                .iter()
                .position(|b| *b == b'\n')
                .map_or(bytes.len(), |at| at + 1);
            bytes.drain(..begin);
            offset += begin as u64;
        }
        let lines: Vec<&[u8]> = whole_lines(&bytes).collect();
        if chunk.next == LogCursor::default() {
            let told: usize = lines.iter().map(|line| line.len()).sum();
            chunk.next = LogCursor {
                file: number,
                offset: offset + told as u64,
            };
        }
        let missing = count - chunk.lines.len();
        let skipped = lines.len().saturating_sub(missing);
        let older = lines[skipped..].iter().filter_map(|line| parse(line));
        chunk.lines.splice(0..0, older);
        if chunk.lines.len() >= count {
            break;
        }
    }
    Ok(chunk)
}

fn read_from(folder: &Path, cursor: LogCursor) -> io::Result<Vec<u8>> {
    let mut file = match fs_err::File::open(folder.join(file_name(cursor.file))) {
        Ok(file) => file,
        // Rotated away between the listing and now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(cursor.offset))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"))
}

/// `<ms> <o|e> <line>`; other lines are left out: they come from a disk that was full.
fn parse(line: &[u8]) -> Option<LogLine> {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\n")?);
    let mut parts = text.splitn(3, ' ');
    let at = timestamp_of_ms(parts.next()?.parse().ok()?);
    let stream = match parts.next()? {
        "o" => LogStream::Out,
        "e" => LogStream::Err,
        _ => return None,
    };
    let text = parts.next()?.trim_end_matches('\r').to_owned();
    Some(LogLine { at, stream, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn following_crosses_rotation_and_waits_for_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = |n| folder.path().join(file_name(n));
        fs_err::write(path(1), "1 o one\n2 e two\n").unwrap();
        fs_err::write(path(2), "3 o three\n4 o fo").unwrap();
        let texts = |chunk: &LogChunk| {
            chunk
                .lines
                .iter()
                .map(|line| line.text.clone())
                .collect::<Vec<_>>()
        };
        let chunk = read(folder.path(), LogFrom::After(LogCursor::default())).unwrap();
        assert_eq!(texts(&chunk), ["one", "two", "three"]);
        let tail = read(folder.path(), LogFrom::Last(2)).unwrap();
        assert_eq!(texts(&tail), ["two", "three"]);
        assert_eq!(tail.next, chunk.next);
        fs_err::write(path(2), "3 o three\n4 o four\n").unwrap();
        let more = read(folder.path(), LogFrom::After(chunk.next)).unwrap();
        assert_eq!(texts(&more), ["four"]);
        assert_eq!(
            texts(&read(folder.path(), LogFrom::After(more.next)).unwrap()),
            [""; 0]
        );
    }
}
