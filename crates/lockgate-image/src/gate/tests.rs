//! What ignores cover; the scan itself is tested on real images in `tests/it/gate.rs`.

use super::*;

#[test]
fn an_ignore_covers_its_place_and_what_is_below() {
    let finding = |place: &str| Finding {
        rule: "r".to_owned(),
        place: place.to_owned(),
        detail: String::new(),
        ignored: None,
    };
    for (place, found, expected) in [
        (None, "a/b (layer x)", true),
        (Some("a/b"), "a/b (layer x)", true),
        (Some("a/"), "a/b (layer x)", true),
        (Some("a"), "ab (layer x)", false),
        (Some("env A"), "env A", true),
        (Some("env A"), "env AB", false),
    ] {
        let ignore = Ignore {
            rule: "r".to_owned(),
            place: place.map(str::to_owned),
            reason: "x".to_owned(),
            expires: None,
        };
        assert_eq!(
            covers(&ignore, &finding(found)),
            expected,
            "{place:?} {found}"
        );
    }
}
