//! The end of a log file, and what is added to it.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use crate::failure::{CommandError, usage};
use crate::printer::Printer;

/// Bytes read from the end of a file; older lines are left out.
const TAIL_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Time between two looks at a file that is followed.
const POLL: Duration = Duration::from_millis(200);

/// Prints the last `lines` of `path` and, when following, what comes.
pub(crate) async fn print(
    printer: &Printer,
    path: &Path,
    lines: usize,
    follow: bool,
) -> Result<(), CommandError> {
    if !path.is_file() {
        return Err(usage("there is no log yet", "run `lockgate node start`"));
    }
    let mut file = fs_err::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    for line in &all[all.len().saturating_sub(lines)..] {
        printer.line(line)?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(POLL).await;
        bytes.clear();
        file.read_to_end(&mut bytes)?;
        printer.data(&String::from_utf8_lossy(&bytes))?;
    }
}
