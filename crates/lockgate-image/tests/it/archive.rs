//! Archives and layers in every compression, made by the real tools.
//!
//! `tests/archives` holds one tree, packed with `tar --format=pax --owner=7 --group=9` and then:
//!
//! ```text
//! tree     gzip -9n · bzip2 -9 · xz -9 · zstd -19 --check
//! streams  two streams one after the other; for zstd with frames to skip before and between
//! blocks   xz --check=sha256 --block-size=2048 --x86 --lzma2=preset=6
//! window   xz --lzma2=dict=1536MiB · zstd --long=31
//! ```

use std::path::PathBuf;

use crate::support::{Bench, expect, image_of_layers};

/// Files that hold the tree.
pub(crate) const PACKED: [&str; 8] = [
    "tree.tar.gz",
    "tree.tar.bz2",
    "tree.tar.xz",
    "tree.tar.zst",
    "streams.tar.bz2",
    "streams.tar.xz",
    "streams.tar.zst",
    "blocks.tar.xz",
];

const TREE: [(&str, &str); 5] = [
    ("dir", "750/"),
    ("dir/file", "640 abc"),
    ("dir/run", "755 #!/bin/sh\n"),
    ("hard", "640 abc"),
    ("link", "-> dir/file"),
];

fn archive(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/archives");
    fs_err::read(folder.join(name)).unwrap()
}

#[tokio::test]
async fn add_unpacks_every_format_whatever_its_name() {
    let bench = Bench::new();
    for packed in PACKED {
        bench.file("misnamed.txt", archive(packed));
        let record = bench
            .build("FROM scratch\nADD misnamed.txt /\n")
            .await
            .unwrap_or_else(|e| panic!("{packed}: {:?}", e.diagnostics()));
        assert_eq!(bench.tree(&record), expect(&TREE), "{packed}");
    }
}

#[tokio::test]
async fn what_is_compressed_but_no_archive_is_copied() {
    let bench = Bench::new();
    for (name, bytes) in [
        ("text", b"BZh91AY".to_vec()),
        ("cut", archive("tree.tar.zst")[..40].to_vec()),
    ] {
        bench.file(name, &bytes);
        let record = bench
            .build(&format!("FROM scratch\nADD {name} /\n"))
            .await
            .unwrap();
        assert!(bench.tree(&record)[name].starts_with("644 "), "{name}");
    }
    bench.file("kept", archive("tree.tar.xz"));
    let record = bench
        .build("FROM scratch\nADD --unpack=false kept /\n")
        .await
        .unwrap();
    assert_eq!(bench.tree(&record).len(), 1);
}

#[tokio::test]
async fn an_archive_that_wants_too_much_memory_is_refused() {
    let bench = Bench::new();
    for name in ["window.tar.xz", "window.tar.zst"] {
        bench.file(name, archive(name));
        let refused = bench
            .build(&format!("FROM scratch\nADD {name} /\n"))
            .await
            .unwrap_err();
        let diagnostics = refused.diagnostics();
        assert_eq!(diagnostics[0].code.as_str(), "LG0306", "{diagnostics:?}");
        assert_eq!(
            diagnostics[0].causes,
            ["it needs more than 128 MiB of memory to be decompressed"]
        );
    }
}

#[tokio::test]
async fn a_base_with_zstd_layers_is_built_on_and_unpacked() {
    let bench = Bench::new();
    let plain = archive("tree.tar.gz");
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&plain[..]), &mut tar).unwrap();
    for packed in ["tree.tar.zst", "streams.tar.zst"] {
        let media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
        let base = image_of_layers(&bench, &[(tar.clone(), archive(packed), media_type)]);
        bench.file("new", "N");
        let record = bench
            .build(&format!(
                "FROM lockgate.local/base@{base}\nCOPY new /link/../dir/\nCOPY --from=lockgate.local/base@{base} /dir/file /copied\n"
            ))
            .await
            .unwrap();
        let mut tree = expect(&TREE);
        tree.extend(expect(&[("dir/new", "644 N"), ("copied", "640 abc")]));
        assert_eq!(bench.tree(&record), tree, "{packed}");
        // The base's layer stays as the registry has it.
        let image = bench.store.image(&record.digest).unwrap();
        assert_eq!(image.manifest.layers[0].media_type, media_type);
    }
}

#[tokio::test]
async fn a_layer_that_is_a_bomb_ends_the_build() {
    let bench = Bench::new();
    // Zeros end a tar archive, but a reader goes on to the end of the blob to check its digest:
    // 32 KiB that become more than a GiB.
    let mut frame = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
    for left in (0..8_200_u32).rev() {
        let header = (131_072_u32 << 3) | (1 << 1) | u32::from(left == 0);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    let base = image_of_layers(&bench, &[(vec![0; 1024], frame, "application/zstd")]);
    let refused = bench
        .build(&format!("FROM lockgate.local/base@{base}\nWORKDIR /x\n"))
        .await
        .unwrap_err();
    let causes = &refused.diagnostics()[0].causes;
    assert!(
        causes
            .iter()
            .any(|c| c.contains("it expands to more than 1073741824 bytes")),
        "{causes:?}"
    );
}
