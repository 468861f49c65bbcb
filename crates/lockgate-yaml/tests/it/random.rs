//! Arbitrary text never panics, and every place is inside the file.

use proptest::prelude::*;

use crate::fake::{checked, context};

fn check_text(text: &str) {
    let (_, found) = checked(text, context(&[]));
    for label in found.iter().flat_map(|d| &d.labels) {
        let length = label.file.text.len() as u32;
        assert!(label.span.start <= label.span.end, "{:?}", label.span);
        // A mistake at the end of the file is marked one past it; the renderer clamps.
        assert!(label.span.end <= length + 1, "{:?} of {length}", label.span);
        assert!(
            label
                .file
                .text
                .is_char_boundary(label.span.start.min(length) as usize)
        );
    }
    lockgate_diag::Renderer::default().render_all(&found);
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_text(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn programs_with_holes(
        parts in prop::collection::vec(prop_oneof![
            Just("resources:\n"), Just("variables:\n"), Just("outputs:\n"), Just("config:\n"),
            Just("  a:\n"), Just("  b: "), Just("    type: fake:Web\n"), Just("    properties:\n"),
            Just("      name: ${b}\n"), Just("    options: {dependsOn: [\"${a}\"]}\n"),
            Just("fn::join: [a, b]\n"), Just("${a.b[0][\"é\"]}\n"), Just("\"\\u0024{a}\"\n"),
            Just("    get: {id: x}\n"), Just("    fn::secret: ${a}\n"), Just("\n"), Just("${"),
            Just("'é${x'\n"), Just("*x\n"), Just("1e9\n"), Just("{fn::nope: 1}\n"),
        ], 0..14)
    ) {
        check_text(&parts.concat());
    }
}
