//! Runs the committed seeds of a fuzz target through its oracle, so that the normal suite
//! exercises every oracle without a fuzzer. The crates' tests include this file by its path.

use std::io::{Read as _, Write as _};
use std::path::Path;

/// Prefixes of every seed that are tried besides the whole.
const PREFIXES: usize = 16;

/// Names the seed of a panic.
struct Named<'p>(&'p Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test's own output; the lint is about programs.
            let _ = writeln!(std::io::stderr(), "seed {}", self.0.display());
        }
    }
}

/// Runs `oracle` over the seeds of `target`, whole and cut short; it panics at what is wrong.
pub(crate) fn replay(target: &str, oracle: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let entries = folder
        .read_dir()
        .expect("every target has a folder of seeds");
    let mut paths: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "`{target}` has no seed");
    for path in paths {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path).expect("a seed opens");
        let mut file = std::io::BufReader::new(file);
        file.read_to_end(&mut bytes).expect("a seed reads");
        // Shown only when the oracle panics.
        let _named = Named(&path);
        oracle(&bytes);
        for end in (0..bytes.len()).step_by(bytes.len() / PREFIXES + 1) {
            oracle(&bytes[..end]);
        }
    }
}
