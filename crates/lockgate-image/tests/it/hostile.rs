//! Layers that try to leave the root, or to exhaust the machine.

use lockgate_image::unpack::{Owners, UnpackError, unpack};

use crate::support::{Bench, layered_image};

/// A ustar header block made by hand, so that it can lie.
pub(crate) fn header(path: &str, flag: u8, size: u64, link: &str) -> Vec<u8> {
    let mut block = [0_u8; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..107].copy_from_slice(if flag == b'5' { b"0000755" } else { b"0000644" });
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[148..156].fill(b' ');
    block[156] = flag;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.to_vec()
}

/// Content padded to whole blocks.
pub(crate) fn block(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(512), 0);
    bytes
}

fn file(path: &str, content: &[u8]) -> Vec<u8> {
    [header(path, b'0', content.len() as u64, ""), block(content)].concat()
}

fn layer(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

/// Unpacks beside a canary; the canary must survive and nothing new may appear outside.
fn unpack_hostile(layers: &[Vec<u8>]) -> (Bench, Result<(), UnpackError>) {
    let bench = Bench::new();
    let area = bench.folder.path().join("area");
    fs_err::create_dir_all(&area).unwrap();
    fs_err::write(area.join("canary"), "alive").unwrap();
    let digest = layered_image(&bench, layers);
    let result = unpack(&bench.store, &digest, &area.join("root"), Owners::Caller);
    assert_eq!(
        fs_err::read_to_string(area.join("canary")).unwrap(),
        "alive"
    );
    let outside: Vec<String> = fs_err::read_dir(&area)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|n| n != "canary" && n != "root")
        .collect();
    assert_eq!(outside, Vec::<String>::new());
    assert_eq!(area.join("root").exists(), result.is_ok());
    (bench, result)
}

#[test]
fn nothing_is_written_outside_the_root() {
    let link_out = header("out", b'2', 0, "..");
    let link_up = header("up", b'2', 0, "../../..");
    for (name, layers, accepted) in [
        ("dots", vec![layer(&[file("../canary", b"dead")])], false),
        (
            "hard link out",
            vec![layer(&[header("h", b'1', 0, "../canary")])],
            false,
        ),
        (
            "hard link to nothing",
            vec![layer(&[header("h", b'1', 0, "missing")])],
            false,
        ),
        ("absolute", vec![layer(&[file("/canary", b"inside")])], true),
        (
            "through a link up",
            vec![layer(&[link_up.clone(), file("up/canary", b"inside")])],
            true,
        ),
        (
            "through a link of an earlier layer",
            vec![layer(&[link_up]), layer(&[file("up/canary", b"inside")])],
            true,
        ),
        (
            "whiteout through a link",
            vec![
                layer(std::slice::from_ref(&link_out)),
                layer(&[file("out/.wh.canary", b"")]),
            ],
            true,
        ),
        (
            "opaque through a link",
            vec![layer(&[link_out]), layer(&[file("out/.wh..wh..opq", b"")])],
            true,
        ),
        (
            "device",
            vec![layer(&[
                header("dev", b'3', 0, ""),
                header("pipe", b'6', 0, ""),
            ])],
            true,
        ),
        ("root as a file", vec![layer(&[file(".", b"x")])], false),
        (
            "whiteout of dots",
            vec![layer(&[file("a/.wh...", b"")])],
            false,
        ),
    ] {
        let (_bench, result) = unpack_hostile(&layers);
        assert_eq!(result.is_ok(), accepted, "{name}: {result:?}");
    }
}

#[test]
fn setuid_is_dropped_when_files_belong_to_the_caller() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut member = header("su", b'0', 0, "");
    member[100..107].copy_from_slice(b"0004755");
    member[148..156].fill(b' ');
    let sum: u32 = member.iter().map(|b| u32::from(*b)).sum();
    member[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let (bench, result) = unpack_hostile(&[layer(&[member])]);
    result.unwrap();
    let mode = fs_err::metadata(bench.folder.path().join("area/root/su"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let low = layer(&[
        header("d/", b'5', 0, ""),
        file("d/a", b"1"),
        file("d/b", b"1"),
        file("e", b"1"),
        file("kept", b"1"),
    ]);
    let high = layer(&[
        file("d/c", b"2"),
        file("d/.wh..wh..opq", b""),
        file(".wh.e", b""),
        file("e2", b"2"),
    ]);
    let (bench, result) = unpack_hostile(&[low, high]);
    result.unwrap();
    let root = bench.folder.path().join("area/root");
    let exists = |p: &str| root.join(p).exists();
    assert_eq!(
        ["d/a", "d/b", "d/c", "e", "e2", "kept"].map(exists),
        [false, false, true, false, true, true]
    );
}

#[test]
fn a_damaged_layer_never_becomes_a_root() {
    let bench = Bench::new();
    let digest = layered_image(&bench, &[layer(&[file("a", b"text")])]);
    let blob = bench.store.image(&digest).unwrap().manifest.layers[0].digest;
    let path = bench.store.blob_path(&blob);
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[512] = b'T';
    fs_err::write(&path, bytes).unwrap();
    let root = bench.folder.path().join("root");
    assert!(unpack(&bench.store, &digest, &root, Owners::Caller).is_err());
    assert!(!root.exists());
}
