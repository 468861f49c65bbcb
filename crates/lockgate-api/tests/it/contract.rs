//! The OpenAPI document is a golden: a change of the wire is a change of this file.

use std::path::Path;

#[test]
fn the_openapi_document_is_the_checked_in_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = lockgate_api::document();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        assert!(
            std::env::var_os("CI").is_none(),
            "goldens are not rewritten in CI"
        );
        fs_err::write(&path, &document).unwrap();
    }
    let golden = fs_err::read_to_string(&path).unwrap();
    let difference = golden.lines().zip(document.lines()).find(|(a, b)| a != b);
    assert_eq!(
        difference, None,
        "run the test with UPDATE_GOLDEN=1 and read the difference"
    );
    assert_eq!(golden.len(), document.len());
}
