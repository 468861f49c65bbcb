//! One folder per case: `program.yaml` beside `expect.txt`, the diagnostics as printed.
//! `UPDATE_GOLDEN=1` rewrites the expectations; it refuses when `CI` is set.

use std::path::{Path, PathBuf};

use lockgate_diag::Renderer;

use crate::fake::{checked, context};

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases = Vec::new();
    for topic in fs_err::read_dir(root).expect("topics") {
        for case in fs_err::read_dir(topic.expect("topic").path()).expect("cases") {
            cases.push(case.expect("case").path());
        }
    }
    cases.sort();
    cases
}

#[test]
fn diagnostics_print_as_expected() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    assert!(
        !(update && std::env::var_os("CI").is_some()),
        "goldens are not rewritten in CI"
    );
    let renderer = Renderer::default();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 15, "only {} cases were found", cases.len());
    for case in cases {
        let program = fs_err::read_to_string(case.join("program.yaml")).expect("program");
        let (_, found) = checked(&program, context(&[]));
        let printed = renderer.render_all(&found);
        let expect = case.join("expect.txt");
        if update {
            fs_err::write(&expect, &printed).expect("written");
        } else if fs_err::read_to_string(&expect).unwrap_or_default() != printed {
            wrong.push(format!("{}\n{printed}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
