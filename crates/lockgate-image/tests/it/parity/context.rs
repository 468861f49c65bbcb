//! The build context that all cases share.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes it to `root`, which exists, and files with odd modes to `odd` beside it.
pub(super) fn write(root: &Path) {
    let file = |path: &str, mode: u32| {
        let full = root.join(path);
        fs_err::create_dir_all(full.parent().unwrap()).unwrap();
        fs_err::write(&full, format!("content of {path}\n")).unwrap();
        fs_err::set_permissions(&full, PermissionsExt::from_mode(mode)).unwrap();
    };
    for path in [
        "a.txt",
        "b.txt",
        "c.md",
        "d.md",
        "#hash",
        "with space",
        "a b/inside",
        "d/one",
        "d/two.md",
        "d/a.txt",
        "d/sub/three",
        "d/sub/four.md",
        "clash/opt",
        "shape/bin/x",
        "dangle/beside",
    ] {
        file(path, 0o644);
    }
    file("run.sh", 0o755);
    for (path, mode) in [
        ("private", 0o600),
        ("group", 0o664),
        ("script", 0o700),
        ("setuid", 0o4755),
    ] {
        file(&format!("../odd/modes/{path}"), mode);
    }
    let folder = |path: &str, mode: u32| {
        fs_err::create_dir_all(root.join(path)).unwrap();
        fs_err::set_permissions(root.join(path), PermissionsExt::from_mode(mode)).unwrap();
    };
    folder("d/empty", 0o755);
    folder("../odd/modes/closed", 0o700);
    folder("../odd/modes/sticky", 0o1777);
    folder("linked", 0o755);
    for (target, link) in [
        ("a.txt", "link"),
        ("d", "dlink"),
        ("nothing", "dangling"),
        ("nothing", "dangle/link"),
        ("../../etc/hostname", "out"),
        ("sub", "d/inner"),
        ("../a.txt", "d/up"),
        ("/etc/hostname", "d/abs"),
        ("elsewhere", "linked/opt"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    archives(root);
}

/// Archives for ADD; those in other compressions are the ones that `archive.rs` tests.
fn archives(root: &Path) {
    let folder = root.join("archives");
    fs_err::create_dir(&folder).unwrap();
    let packed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/archives");
    for name in crate::archive::PACKED {
        fs_err::copy(packed.join(name), folder.join(name)).unwrap();
    }
    fs_err::copy(packed.join("tree.tar.xz"), folder.join("misnamed.txt")).unwrap();
    shell(
        root,
        "
        set -e
        gzip -dc archives/tree.tar.gz > archives/tree.tar
        head -c 3000 archives/tree.tar > archives/cut.tar
        printf text | gzip -n > archives/plain.gz
        : > archives/empty.tar
        pack() { tar --format=pax --sort=name --numeric-owner --mtime=@1 \"$@\"; }

        mkdir t; cd t
        mkdir -p usr/bin usr/x opt etc
        echo tool > usr/bin/tool; echo file > opt/file
        printf 'root:x:0:0::/:\\nalice:x:1001:1002::/:\\n' > etc/passwd
        printf 'root:x:0:\\nstaff:x:50:\\n' > etc/group
        ln -s usr/bin bin; ln -s /opt srv; ln -s ../../../opt escape; ln -s missing/dir nowhere; ln -s passwd etc/users
        chmod 755 . usr usr/bin usr/x etc usr/bin/tool; chmod 644 opt/file etc/*
        chown -R 0:0 .; chown 3:4 opt; chmod 750 opt
        pack -cf ../base.tar *
        cd ..; rm -r t

        mkdir t; cd t
        mkdir -p in; echo 1 > in/closed; echo 2 > setuid; ln in/closed hard; ln -s in/closed soft
        chown -R 3:4 .; chown -h 5:6 soft; chmod 600 in/closed; chmod 4755 setuid; chmod 700 in
        pack -cf ../archives/owned.tar *
        rm setuid soft
        pack -cf ../archives/hard.tar hard in
        cd ..; rm -r t

        mkdir t; cd t
        mkdir bin usr opt; echo new > bin/new; echo other > opt/file; ln -s bin usr/link; chmod 711 usr
        pack -cf ../archives/over.tar bin usr opt
        rm -r opt usr; echo 1 > bin/f; chmod 755 bin
        pack -cf ../archives/twice.tar bin
        chmod 700 bin
        pack -rf ../archives/twice.tar --no-recursion bin
        mkdir -p deep/er; echo 1 > deep/er/f; chown 3:4 deep/er/f
        pack -cf ../archives/bare.tar deep/er/f
        pack -cf ../archives/through.tar bin/f
        cd ..; rm -r t
        ",
    );
}

/// The same files once more.
pub(super) fn copy(root: &Path, to: &Path) {
    let parent = to.parent().unwrap();
    fs_err::create_dir_all(parent).unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(root).arg(root.with_file_name("odd"));
    assert!(copy.arg(parent).status().unwrap().success());
}

fn shell(folder: &Path, script: &str) {
    let done = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(done.success(), "the archives were not made");
}
