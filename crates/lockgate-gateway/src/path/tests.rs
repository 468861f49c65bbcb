//! Normalising: idempotent, and without segments that lead elsewhere.

use proptest::prelude::*;

use super::normalise;

proptest! {
    #[test]
    fn normalising_twice_is_normalising_once(path in "/([a-c./]|%[2-7][0-9a-fA-F]|%){0,24}") {
        if let Ok(once) = normalise(&path) {
            let twice = normalise(&once);
            prop_assert_eq!(twice.as_deref(), Ok(&*once));
            prop_assert!(once.starts_with('/'));
            prop_assert!(!once.contains("//"), "{once}");
            prop_assert!(once.split('/').all(|s| s != "." && s != ".."), "{once}");
        }
    }

    #[test]
    fn normal_paths_are_kept_as_they_are(path in "(/[a-z0-9_~-]{1,5}){1,5}/?") {
        let normal = normalise(&path);
        prop_assert_eq!(normal.as_deref(), Ok(path.as_str()));
    }
}

#[test]
fn dot_files_are_no_dot_segments() {
    for (path, normal) in [
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a/..b", "/a/..b"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
    ] {
        assert_eq!(normalise(path).as_deref(), Ok(normal), "{path}");
    }
}
