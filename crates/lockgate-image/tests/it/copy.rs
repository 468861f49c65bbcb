//! COPY and ADD: what ends up where.

use lockgate_image::unpack::{Owners, unpack};

use crate::support::{Bench, expect};

async fn check(bench: &Bench, dockerfile: &str, rows: &[(&str, &str)]) {
    let record = bench
        .build(dockerfile)
        .await
        .unwrap_or_else(|e| panic!("{dockerfile}: {:?}", e.diagnostics()));
    assert_eq!(bench.tree(&record), expect(rows), "{dockerfile}");
}

fn sample() -> Bench {
    use std::os::unix::fs::symlink;
    let bench = Bench::new();
    bench.file("a.txt", "A");
    bench.file("b.txt", "B");
    bench.file("d/x/one", "1");
    bench.file("d/two.md", "2");
    symlink("a.txt", bench.context().join("link")).unwrap();
    symlink("x", bench.context().join("d/inner")).unwrap();
    bench
}

#[tokio::test]
async fn sources_and_destinations_combine_as_in_docker() {
    let bench = sample();
    for (copy, rows) in [
        ("COPY a.txt /new", &[("new", "644 A")][..]),
        (
            "COPY a.txt /new/",
            &[("new", "755/"), ("new/a.txt", "644 A")],
        ),
        ("COPY ../../a.txt /", &[("a.txt", "644 A")]),
        (
            "COPY *.txt /t/",
            &[("t", "755/"), ("t/a.txt", "644 A"), ("t/b.txt", "644 B")],
        ),
        (
            "COPY nothing*.txt a.txt /t/",
            &[("t", "755/"), ("t/a.txt", "644 A")],
        ),
        (
            "COPY d /e",
            &[
                ("e", "755/"),
                ("e/inner", "-> x"),
                ("e/two.md", "644 2"),
                ("e/x", "755/"),
                ("e/x/one", "644 1"),
            ],
        ),
        ("COPY link /l", &[("l", "644 A")]),
        ("COPY d/inner/one /o", &[("o", "644 1")]),
        (
            "COPY --parents d/x/one /p/",
            &[
                ("p", "755/"),
                ("p/d", "755/"),
                ("p/d/x", "755/"),
                ("p/d/x/one", "644 1"),
            ],
        ),
        (
            "COPY --parents d/./x/one /p/",
            &[("p", "755/"), ("p/x", "755/"), ("p/x/one", "644 1")],
        ),
        (
            "COPY --parents **/*.md /p/",
            &[("p", "755/"), ("p/d", "755/"), ("p/d/two.md", "644 2")],
        ),
        (
            "COPY --exclude=x --exclude=*.md d /e",
            &[("e", "755/"), ("e/inner", "-> x")],
        ),
        ("COPY --chmod=700 a.txt /k", &[("k", "700 A")]),
        (
            "COPY --chmod=u=rwX,go=rX d/x /e",
            &[("e", "755/"), ("e/one", "644 1")],
        ),
        (
            "COPY <<EOF <<'RAW' /h/\n$PATH\nEOF\n$PATH\nRAW",
            &[
                ("h", "755/"),
                (
                    "h/EOF",
                    "644 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
                ),
                ("h/RAW", "644 $PATH\n"),
            ],
        ),
        (
            "WORKDIR /w\nCOPY a.txt .",
            &[("w", "755/"), ("w/a.txt", "644 A")],
        ),
        (
            "WORKDIR /w\nCOPY a.txt /w",
            &[("w", "755/"), ("w/a.txt", "644 A")],
        ),
        (
            "COPY [\"a.txt\", \"/with space\"]",
            &[("with space", "644 A")],
        ),
    ] {
        check(&bench, &format!("FROM scratch\n{copy}\n"), rows).await;
    }
}

#[tokio::test]
async fn a_stage_gives_files_by_name_and_by_index_with_their_modes() {
    let bench = sample();
    for from in ["build", "BUILD", "0"] {
        let text = format!(
            "FROM scratch AS build\nCOPY --chmod=750 a.txt /out/app\nCOPY d /out/d\nFROM scratch\nCOPY --from={from} /out/app /out/d/x /bin/\n"
        );
        check(
            &bench,
            &text,
            &[("bin", "755/"), ("bin/app", "750 A"), ("bin/one", "644 1")],
        )
        .await;
    }
    check(
        &bench,
        "FROM scratch AS a\nCOPY a.txt /x\nFROM a\nCOPY b.txt /y\n",
        &[("x", "644 A"), ("y", "644 B")],
    )
    .await;
}

#[tokio::test]
async fn archives_are_unpacked_by_content() {
    let bench = Bench::new();
    let mut tar = Vec::new();
    tar.extend(crate::hostile::header("dir/", b'5', 0, ""));
    tar.extend(crate::hostile::header("dir/file", b'0', 3, ""));
    tar.extend(crate::hostile::block(b"abc"));
    tar.extend(crate::hostile::header("hard", b'1', 0, "dir/file"));
    tar.extend([0; 1024]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    bench.file("plain.tar", &tar);
    bench.file("misnamed.txt", gzip.finish().unwrap());
    let rows = [
        ("o", "755/"),
        ("o/dir", "755/"),
        ("o/dir/file", "644 abc"),
        ("o/hard", "644 abc"),
    ];
    for name in ["plain.tar", "misnamed.txt"] {
        check(&bench, &format!("FROM scratch\nADD {name} /o/\n"), &rows).await;
    }
}

#[tokio::test]
async fn a_merged_usr_base_keeps_its_links() {
    let bench = Bench::new();
    let base = crate::support::base_image(
        &bench,
        &[
            ("usr/", b'5', ""),
            ("usr/bin/", b'5', ""),
            ("bin", b'2', "usr/bin"),
            ("usr/bin/old", b'0', ""),
        ],
    );
    bench.file("tool", "T");
    let text = format!("FROM lockgate.local/base@{base}\nCOPY tool /bin/\n");
    check(
        &bench,
        &text,
        &[
            ("bin", "-> usr/bin"),
            ("usr", "755/"),
            ("usr/bin", "755/"),
            ("usr/bin/old", "644 "),
            ("usr/bin/tool", "644 T"),
        ],
    )
    .await;
    // The layer itself names the real path and writes no folder again.
    let record = bench.build(&text).await.unwrap();
    let image = bench.store.image(&record.digest).unwrap();
    assert_eq!(image.manifest.layers.len(), 2);
    let conflict = bench
        .build(&format!(
            "FROM lockgate.local/base@{base}\nCOPY tool /bin/old/x\n"
        ))
        .await
        .unwrap_err();
    assert_eq!(conflict.diagnostics()[0].code.as_str(), "LG0316");
}

#[tokio::test]
async fn names_that_are_not_utf8_and_owners_reach_the_image() {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    let bench = Bench::new();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    fs_err::write(bench.context().join(name), "x").unwrap();
    let record = bench
        .build("FROM scratch\nCOPY --chown=1234 . /d/\n")
        .await
        .unwrap();
    let dest = bench.folder.path().join("out");
    // Owners can only be kept by root; elsewhere the names are what is tested.
    let root = rustix::process::geteuid().is_root();
    unpack(
        &bench.store,
        &record.digest,
        &dest,
        if root { Owners::Keep } else { Owners::Caller },
    )
    .unwrap();
    let metadata = fs_err::metadata(dest.join("d").join(name)).unwrap();
    if root {
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 1234));
    }
    assert_eq!(metadata.mtime(), lockgate_image::build::DEFAULT_EPOCH);
}
