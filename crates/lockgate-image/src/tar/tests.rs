//! The writer against GNU tar's reading of it, the reader against hostile bytes.

use std::io::Read as _;

use super::*;

fn archive(headers: &[(Header<'_>, &[u8])]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (header, content) in headers {
        writer.append(header, &mut &**content).unwrap();
    }
    writer.finish().unwrap()
}

fn header<'a>(path: &'a [u8], kind: HeaderKind<'a>) -> Header<'a> {
    Header {
        path,
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
    }
}

#[test]
fn what_is_written_is_read_back_with_long_names_and_large_ids() {
    let long = [b"d/".repeat(90), b"x".repeat(120)].concat();
    let target = b"t".repeat(150);
    let split = [b"p".repeat(120), b"/".to_vec(), b"n".repeat(60)].concat();
    let mut owned = header(b"owned", HeaderKind::File(3));
    (owned.uid, owned.gid) = (3_000_000, 12);
    let bytes = archive(&[
        (header(&long, HeaderKind::File(5)), b"hello"),
        (header(&split, HeaderKind::Symlink(&target)), b""),
        (owned, b"abc"),
        (header(b"dir", HeaderKind::Folder), b""),
    ]);
    let mut reader = TarReader::new(&bytes[..], Limits::default());
    let first = reader.next_member().unwrap().unwrap();
    assert_eq!((first.path, first.size), (long, 5));
    let mut content = String::new();
    reader.content().read_to_string(&mut content).unwrap();
    assert_eq!(content, "hello");
    let second = reader.next_member().unwrap().unwrap();
    assert_eq!(
        (second.path, second.link, second.kind),
        (split, target, MemberKind::Symlink)
    );
    let third = reader.next_member().unwrap().unwrap();
    assert_eq!((third.uid, third.gid), (3_000_000, 12));
    assert_eq!(
        reader.next_member().unwrap().unwrap().kind,
        MemberKind::Folder
    );
    assert_eq!(reader.next_member().unwrap(), None);
}

#[test]
fn a_file_that_changes_its_length_is_an_error() {
    for content in [&b"ab"[..], b"abcd"] {
        let mut writer = TarWriter::new(Vec::new());
        let result = writer.append(&header(b"f", HeaderKind::File(3)), &mut &*content);
        assert!(result.is_err());
    }
}

#[test]
fn hostile_archives_are_refused_with_the_reason() {
    let escape = archive(&[(header(b"a/../../etc/passwd", HeaderKind::File(0)), b"")]);
    let mut checksum = archive(&[(header(b"a", HeaderKind::File(0)), b"")]);
    checksum[0] = b'b';
    let cut = &archive(&[(header(b"a", HeaderKind::File(600)), &[1; 600])])[..700];
    for (bytes, reason) in [
        (&escape[..], "a path leaves the archive"),
        (&checksum[..], "a header checksum is wrong"),
        (cut, "it ends inside a member"),
        (&cut[..300], "it ends inside a header"),
    ] {
        let mut reader = TarReader::new(bytes, Limits::default());
        let error = loop {
            match reader.next_member() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("accepted, expected: {reason}"),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(&error, TarError::Malformed { reason: r, .. } if *r == reason),
            "{error}"
        );
    }
}

#[test]
fn limits_end_a_large_archive() {
    let bytes = archive(&[
        (header(b"a", HeaderKind::File(4096)), &[0; 4096]),
        (header(b"b", HeaderKind::Folder), b""),
    ]);
    let mut small = TarReader::new(
        &bytes[..],
        Limits {
            members: 9,
            bytes: 2048,
        },
    );
    small.next_member().unwrap();
    assert!(matches!(
        small.next_member(),
        Err(TarError::Limit { what: "bytes", .. })
    ));
    let mut few = TarReader::new(
        &bytes[..],
        Limits {
            members: 1,
            bytes: 1 << 20,
        },
    );
    few.next_member().unwrap();
    assert!(matches!(
        few.next_member(),
        Err(TarError::Limit {
            what: "members",
            ..
        })
    ));
}
