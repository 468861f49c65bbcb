//! Where the resources of a program are declared, by the source positions that SDKs send.
//!
//! A position is taken at its word only for a file of the project folder; and a file is read only
//! when there is an error to show in it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_diag::{Label, SourceFile, Span};
use lockgate_engine::source::Places;
use parking_lot::Mutex;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::generated::SourcePosition;

/// Most bytes of a file that is shown: far more than a person writes by hand.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most files that are read in one run; resources in further ones have no place.
const FILES_MAX: usize = 64;

/// The files of a program, each read once and only when an error is to be shown in it.
pub(crate) struct SourceFiles {
    /// The project folder.
    root: PathBuf,
    /// What was read, by path in the project folder; `None` for what cannot be shown.
    read: Mutex<BTreeMap<String, Option<Arc<SourceFile>>>>,
}

impl SourceFiles {
    pub(crate) fn new(root: &Path) -> Arc<Self> {
        Arc::new(Self {
            root: root.to_owned(),
            read: Mutex::default(),
        })
    }

    fn get(&self, path: &str) -> Option<Arc<SourceFile>> {
        let mut read = self.read.lock();
        if let Some(known) = read.get(path) {
            return known.clone();
        }
        if read.len() >= FILES_MAX {
            return None;
        }
        let text = read_inside(&self.root, path);
        let file = text.map(|text| SourceFile::new(path, text));
        read.insert(path.to_owned(), file.clone());
        file
    }
}

/// The text of a regular file below `root`; no link leads out of there.
fn read_inside(root: &Path, path: &str) -> Option<String> {
    let folder_flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(root, folder_flags, Mode::empty()).ok()?;
    // Without waiting: a pipe may have no one at its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(&folder, path, flags, Mode::empty(), beneath).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    let mut limited = std::fs::File::from(file).take(FILE_BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return None;
    }
    String::from_utf8(bytes).ok()
}

/// A line of a program.
pub(crate) struct SourcePlace {
    files: Arc<SourceFiles>,
    /// In the project folder, in the form of a URI.
    path: String,
    /// From 1.
    line: i32,
    /// From 1; 0 when the SDK does not know it.
    column: i32,
}

impl SourcePlace {
    /// What an SDK says; `None` outside the project folder.
    pub(crate) fn new(given: &SourcePosition, files: &Arc<SourceFiles>) -> Option<Self> {
        Some(Self {
            files: Arc::clone(files),
            path: inside(&given.uri, &files.root)?.to_owned(),
            line: given.line,
            column: given.column,
        })
    }

    /// As the state keeps it.
    pub(crate) fn position(&self) -> String {
        format!("project:///{}#{},{}", self.path, self.line, self.column)
    }
}

impl Places for SourcePlace {
    fn find(&self, _property: &str) -> Vec<Label> {
        let label = || {
            let file = self.files.get(&decoded(&self.path)?)?;
            let span = line_span(&file.text, self.line, self.column)?;
            let text = String::new();
            Some(Label { file, span, text })
        };
        label().into_iter().collect()
    }
}

impl fmt::Debug for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.position())
    }
}

/// What follows the folder `root` in a `file` URI, still in the form of a URI.
fn inside<'u>(uri: &'u str, root: &Path) -> Option<&'u str> {
    let mut rest = uri.strip_prefix("file:///")?;
    for part in root.iter().skip(1) {
        let (first, after) = rest.split_once('/')?;
        if *part != *decoded(first)? {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

/// A part of a URI without its `%` escapes; `None` when it is malformed, no text, or nothing to
/// print.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut pieces = part.split('%');
    bytes.extend(pieces.next()?.bytes());
    for piece in pieces {
        let (digits, plain) = piece.split_at_checked(2)?;
        bytes.extend(hex::decode(digits).ok()?);
        bytes.extend(plain.bytes());
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains(char::is_control)).then_some(text)
}

/// A line of `text` from a column to its end, blanks around it left out. `None` when there is
/// nothing to see at that line: the file is not what the program was made of.
fn line_span(text: &str, line: i32, column: i32) -> Option<Span> {
    let index = usize::try_from(line.checked_sub(1)?).ok()?;
    let row = text.split_inclusive('\n').nth(index)?;
    let start = row.as_ptr() as usize - text.as_ptr() as usize;
    let end = row.trim_end().len();
    let first = row.len() - row.trim_start().len();
    let column = usize::try_from(column.saturating_sub(1)).unwrap_or_default();
    let from = row
        .char_indices()
        .nth(column)
        .map_or(first, |(at, _)| at)
        .max(first);
    let from = if from < end { from } else { first };
    (first < end).then(|| Span::of(start + from..start + end))
}

#[cfg(test)]
mod tests;
