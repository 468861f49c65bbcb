//! Bounds and damage, without an image around.

use std::io::Read as _;

use super::{Compression, TooLarge, inflate};

const FILES: [(&str, Compression); 9] = [
    ("tree.tar.gz", Compression::Gzip),
    ("tree.tar.bz2", Compression::Bzip2),
    ("tree.tar.xz", Compression::Xz),
    ("tree.tar.zst", Compression::Zstd),
    ("streams.tar.bz2", Compression::Bzip2),
    ("streams.tar.xz", Compression::Xz),
    ("streams.tar.zst", Compression::Zstd),
    ("blocks.tar.xz", Compression::Xz),
    ("window.tar.zst", Compression::Zstd),
];

fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/archives/");
    fs_err::read(format!("{folder}{name}")).expect("the archive is in the repository")
}

fn whole(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let size = bytes.len() as u64;
    let mut out = Vec::new();
    inflate(std::io::Cursor::new(bytes), size)?
        .1
        .read_to_end(&mut out)?;
    Ok(out)
}

#[test]
fn formats_are_recognised_by_content() {
    for (name, expected) in FILES {
        assert_eq!(Compression::of(&file(name)), expected, "{name}");
    }
    assert_eq!(Compression::of(b""), Compression::None);
    assert_eq!(Compression::of(b"BZ"), Compression::None);
}

#[test]
fn damage_is_an_error_or_harmless_but_never_a_crash() {
    let sound = whole(file("tree.tar.gz")).expect("the archive is sound");
    for (name, _) in FILES.iter().filter(|(name, _)| !name.starts_with("window")) {
        let bytes = file(name);
        assert_eq!(whole(bytes.clone()).expect("it is sound"), sound, "{name}");
        for at in 0..bytes.len() {
            for bit in [0x01, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= bit;
                // Some bits carry nothing; without its magic a file is not compressed at all.
                if let Ok(out) = whole(damaged.clone()) {
                    assert!(out == sound || out == damaged, "{name} at {at}");
                }
            }
            if let Ok(out) = whole(bytes[..at].to_vec()) {
                assert!(out.len() < sound.len(), "{name} cut at {at}");
            }
        }
    }
}

#[test]
fn a_window_beyond_the_cap_is_refused_before_it_is_allocated() {
    for name in ["window.tar.xz", "window.tar.zst"] {
        let error = whole(file(name)).expect_err("the window is too large");
        assert!(TooLarge::caused(&error), "{name}: {error}");
        assert_eq!(
            error.to_string(),
            "it needs more than 128 MiB of memory to be decompressed"
        );
    }
}

/// A frame of zstd that is `blocks` times 128 KiB of zeros: four bytes each (RFC 8878, RLE).
fn zeros(blocks: usize) -> Vec<u8> {
    let mut frame = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
    for left in (0..blocks).rev() {
        let header = (131_072_u32 << 3) | (1 << 1) | u32::from(left == 0);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn a_bomb_ends() {
    let expand = |bytes: Vec<u8>| {
        let size = bytes.len() as u64;
        let (_, mut input) = inflate(std::io::Cursor::new(bytes), size)?;
        std::io::copy(&mut input, &mut std::io::sink())
    };
    let fits = expand(zeros(8_192)).expect("a GiB is what every input may become");
    assert_eq!(fits, 1 << 30);
    let error = expand(zeros(8_193)).expect_err("it is a bomb");
    assert!(TooLarge::caused(&error), "{error}");
    assert_eq!(
        error.to_string(),
        "it expands to more than 1073741824 bytes, more than archives of its size do"
    );
}
