//! The oracle of the fuzz target `yaml_program`, which includes this file: whatever the text,
//! mistakes have places in it, and a program without mistakes runs to its end or says why not.

use lockgate_diag::Renderer;
use lockgate_model::Value;

use crate::fake::{FakeMonitor, checked, context, run};

/// Checks any text as a program and runs it if it may run.
pub(crate) fn program(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let config = || {
        context(&[
            ("shop:size", Value::from(3.0)),
            ("shop:key", Value::from("k")),
        ])
    };
    let (program, found) = checked(text, config());
    assert_places(&found);
    let (_, again) = checked(text, config());
    assert_eq!(found, again, "the same text has the same mistakes");
    if program.is_none() {
        assert!(found.iter().any(lockgate_diag::Diagnostic::is_error));
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime without I/O");
    for preview in [true, false] {
        let monitor = FakeMonitor {
            preview,
            ..FakeMonitor::default()
        };
        // No such folder, so no file is read.
        let nowhere = std::path::Path::new("/nonexistent");
        let (monitor, result) = runtime.block_on(run(text, config(), monitor, nowhere));
        assert!(
            result.is_err() || monitor.outputs.lock().is_some(),
            "the stack has outputs"
        );
    }
}

fn assert_places(found: &[lockgate_diag::Diagnostic]) {
    for label in found.iter().flat_map(|d| &d.labels) {
        let length = label.file.text.len() as u32;
        let span = label.span;
        assert!(span.start <= span.end, "{span:?}");
        // A mistake at the end of the file is marked one past it; the renderer clamps.
        assert!(span.end <= length + 1, "{span:?} of {length}");
        for place in [span.start, span.end] {
            assert!(
                label.file.text.is_char_boundary(place.min(length) as usize),
                "{span:?}"
            );
        }
    }
    Renderer::default().render_all(found);
}
