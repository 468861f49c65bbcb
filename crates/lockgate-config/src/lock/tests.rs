//! Lock files: stable text, unknown parts kept, newer versions refused.

use std::collections::BTreeMap;

use lockgate_diag::SourceFile;
use lockgate_model::Digest;

use super::{Lock, Pin};

fn read(text: &str) -> (Option<Lock>, Vec<String>) {
    let (lock, found) = Lock::parse(&SourceFile::new("lockgate.lock", text));
    (lock, found.into_iter().map(|d| d.message).collect())
}

#[test]
fn text_round_trips_with_unknown_parts() {
    let a = Digest::of(b"a");
    let text = format!(
        "version = 1\nnote = \"kept\"\n\n[image.\"docker.io/library/nginx:1\"]\ndigest = \"{a}\"\n\
         rule = \"digest\"\nwhen = \"2026-11-28T19:00:00Z\"\nscore = 3\n\
         platforms.\"linux/amd64\" = \"{a}\"\n"
    );
    let (lock, found) = read(&text);
    assert_eq!(found, Vec::<String>::new());
    let mut lock = lock.expect("valid");
    assert_eq!(lock.render(), text);
    let pin = Pin::new(a, BTreeMap::new(), "t".into(), "semver".into());
    lock.images.insert("a.b/c\"d".into(), pin);
    assert_eq!(read(&lock.render()).0, Some(lock));
}

#[test]
fn newer_versions_and_broken_pins_are_refused() {
    assert_eq!(
        read("version = 2\n[image.x]\ndigest = \"no\"\n"),
        (
            None,
            vec![
                "the lock file has version 2, this Lockgate reads 1".to_owned(),
                "pin of `x`: `no` is not a digest, expected sha256: and 64 lower-case hex digits"
                    .to_owned(),
            ]
        )
    );
    assert_eq!(read("").0, Some(Lock::default()));
}
