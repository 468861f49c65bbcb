//! What a program inside can see and do.

use std::process::Command;

use lockgate_diag::Secret;
use lockgate_service::{Platform as _, RootMode};

use crate::lab::{Lab, after, args, exe, images};
use crate::support::spec;

fn check_hardened(lines: &[String]) {
    let fds: Vec<_> = after(lines, "fd ").collect();
    assert_eq!(fds, ["0", "1", "2"], "descriptors reached the program");
    let status = |name: &str| {
        let prefix = format!("status {name}:");
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix(prefix.as_str()));
        line.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
            .trim()
            .to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(set), "0000000000000000", "{set}");
    }
    assert_eq!(status("NoNewPrivs"), "1");
    assert_eq!(status("Seccomp_filters"), "2");
    assert_eq!(status("SigBlk"), "0000000000000000");
    let call = |name: &str| {
        let prefix = format!("call {name} ");
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix(prefix.as_str()));
        line.unwrap_or_else(|| panic!("no call {name} in {lines:?}"))
            .to_owned()
    };
    for name in [
        "mount",
        "unshare",
        "chroot",
        "io_uring_setup",
        "bpf",
        "ptrace",
        "clone-newuser",
        "sethostname",
    ] {
        assert_eq!(call(name), "EPERM", "{name}");
    }
    for name in ["clone3", "unknown-900"] {
        assert_eq!(call(name), "ENOSYS", "{name}");
    }
    #[cfg(target_arch = "x86_64")]
    assert_eq!(call("x32-getpid"), "ENOSYS");
    assert_eq!(call("write:/dev/new"), "EROFS");
    let read_only = |folder: &str| {
        let mut mounts = after(lines, "mount ").map(|line| line.split(' ').collect::<Vec<_>>());
        mounts.any(|mount| mount[1] == folder && mount[3].starts_with("ro,"))
    };
    assert!(read_only("/proc/sys") && read_only("/proc/fs"), "{lines:?}");
    for name in ["kcore", "keys", "timer_list", "sysrq-trigger"] {
        if std::path::Path::new("/proc").join(name).exists() {
            let path = format!(" /proc/{name} ");
            assert!(
                after(lines, "mount ").any(|mount| mount.contains(&path)),
                "{name} is not masked"
            );
        }
    }
    assert_eq!(call("open-exe-of-1"), "EACCES");
    for path in ["/tmp/new", "/dev/shm/new"] {
        assert_eq!(call(&format!("write:{path}")), "ok", "{path}");
    }
}

#[tokio::test]
async fn a_program_has_no_capabilities_descriptors_or_forbidden_calls() {
    let lab = Lab::new();
    let mut spec = spec("sight", &args(&["report"]));
    spec.service.env.insert("PLAIN".to_owned(), "1".to_owned());
    spec.service
        .secret_env
        .insert("HIDDEN".to_owned(), Secret::new("canary-5f1".to_owned()));
    let lines = lab.report(spec).await;
    check_hardened(&lines);
    assert!(lines.contains(&"hostname sight".to_owned()));
    assert!(lines.contains(&"cwd /work/dir".to_owned()));
    assert!(lines.contains(&"ids 0 0 pid 2".to_owned()), "{lines:?}");
    for variable in [
        "PLAIN=1",
        "HIDDEN=canary-5f1",
        "FROM_IMAGE=yes",
        "HOSTNAME=sight",
    ] {
        assert!(lines.contains(&format!("env {variable}")), "{variable}");
    }
    let home = lab.home().to_str().unwrap();
    // Overlay states its folders relative to the home, so not even mounts tell where it is.
    assert!(after(&lines, "mount ").all(|mount| !mount.contains(home)));
}

#[tokio::test]
async fn secrets_reach_the_program_and_nothing_else() {
    let lab = Lab::new();
    let mut spec = spec("secret", &args(&["serve"]));
    spec.service
        .secret_env
        .insert("HIDDEN".to_owned(), Secret::new("canary-9c2".to_owned()));
    let instance = lab.platform.start(spec).await.unwrap();
    let found = Command::new("grep")
        .args(["-rl", "canary-9c2"])
        .arg(lab.home())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&found.stdout),
        "",
        "a file holds the secret"
    );
    for file in ["cmdline", "environ"] {
        let text = fs_err::read(format!("/proc/{}/{file}", instance.pid)).unwrap();
        assert!(
            !String::from_utf8_lossy(&text).contains("canary-9c2"),
            "{file} of pid 1"
        );
    }
    lab.platform
        .stop("secret", std::time::Duration::ZERO)
        .await
        .unwrap();
}

#[tokio::test]
async fn writes_never_reach_the_store() {
    for root in [RootMode::Auto, RootMode::Copy] {
        let lab = Lab::with(|settings| settings.root = root);
        let lines = lab.report(spec("writer", &args(&["report"]))).await;
        assert!(
            lines.contains(&"call write:/etc/image-file ok".to_owned()),
            "{root:?}: {lines:?}"
        );
        assert!(lines.contains(&"call write:/new-file ok".to_owned()));
        check_hardened(&lines);
        let images: Vec<_> = fs_err::read_dir(lab.home().join("rootfs"))
            .unwrap()
            .collect();
        let stored = images[0].as_ref().unwrap().path();
        let text = fs_err::read_to_string(stored.join("etc/image-file")).unwrap();
        assert_eq!(text, "of the image\n");
        assert!(!stored.join("new-file").exists());
        let again = lab.report(spec("reader", &args(&["report"]))).await;
        assert!(again.contains(&"call write:/new-file ok".to_owned()));
    }
}

#[tokio::test]
async fn a_read_only_root_refuses_writes_but_tmp_takes_them() {
    for root in [RootMode::Auto, RootMode::Copy] {
        let lab = Lab::with(|settings| settings.root = root);
        let mut spec = spec("still", &args(&["report"]));
        spec.service.read_only_root = true;
        // The image's WORKDIR is missing and cannot be made, which is the program's error.
        let error = lab.platform.start(spec.clone()).await.unwrap_err();
        assert!(error.to_string().starts_with("start `/probe`"), "{error}");
        spec.service.image.tag = Some("in-etc".to_owned());
        let lines = lab.report(spec).await;
        check_hardened(&lines);
        for path in ["/new-file", "/etc/image-file"] {
            assert!(
                lines.contains(&format!("call write:{path} EROFS")),
                "{root:?}: {lines:?}"
            );
        }
    }
}

#[tokio::test]
async fn another_user_of_the_image_runs_with_its_id_only() {
    let lab = Lab::new();
    let mut spec = spec("user", &args(&["report"]));
    spec.service.image.tag = Some("user-33".to_owned());
    let lines = lab.report(spec).await;
    check_hardened(&lines);
    assert!(lines.contains(&"ids 33 0 pid 2".to_owned()), "{lines:?}");
    let groups = after(&lines, "status Groups:").next().unwrap().trim();
    assert_eq!(groups, "", "supplementary groups were inherited");
}

/// The single-id map. Root becomes an ordinary user for it; whoever runs the tests as one has
/// it in every other test.
#[tokio::test]
async fn an_ordinary_user_needs_no_help() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped, 1: the other tests run as an ordinary user already");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(12_345), Some(12_345)).unwrap();
    std::os::unix::fs::chown(images(), Some(12_345), Some(12_345)).unwrap();
    for id in ["plain", "user-33"] {
        // A descriptor that whoever starts the node left open must not reach the program.
        let done = Command::new("sh")
            .args(["-c", "exec 7</etc/passwd; exec setpriv \"$@\"", "sh"])
            .args(["--reuid=12345", "--regid=12345", "--clear-groups"])
            .arg(exe())
            .arg("life")
            .arg(home.path())
            .arg(images())
            .args([id, "report"])
            .output()
            .expect("a shell");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{errors}");
        check_hardened(&text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
    let left: Vec<_> = fs_err::read_dir(home.path().join("instances"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
