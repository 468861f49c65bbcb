//! The doctor on machines that lack something. What is missing is taken away in a child that has
//! name spaces of its own, so the real machine is not touched.

use std::process::Command;

use lockgate_service::{Verdict, doctor};

use crate::lab::exe;

#[test]
fn the_doctor_finds_this_machine_good_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let report = doctor(home.path(), &exe());
    let sandbox = &report.checks[0];
    assert_eq!(sandbox.verdict, Verdict::Good, "{sandbox:?}");
    let names: Vec<_> = report.checks.iter().map(|check| check.name).collect();
    assert_eq!(names, ["sandbox", "ids", "limits", "outbound network"]);
    let left: Vec<_> = fs_err::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Runs the doctor after `spoil` in new user and mount name spaces; gives what it printed.
fn spoiled(spoil: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let script = format!("home=\"$1\"; {spoil}; exec \"$2\" doctor \"$home\"");
    let done = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
        ])
        .args(["sh", "-ec", &script, "sh"])
        .arg(home.path())
        .arg(exe())
        .output()
        .expect("unshare of util-linux");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn the_doctor_names_the_cause_of_what_is_missing() {
    let text = spoiled("echo 0 > /proc/sys/user/max_user_namespaces");
    assert!(
        text.contains("missing") && text.contains("user.max_user_namespaces=15000"),
        "{text}"
    );
    let text = spoiled("mount -t tmpfs x /proc/tty");
    assert!(
        text.contains("missing") && text.contains("proc is partly concealed"),
        "{text}"
    );
    let overlay = "mkdir -p $home/l $home/u $home/w $home/m; \
        mount -t overlay o -o lowerdir=$home/l,upperdir=$home/u,workdir=$home/w,userxattr $home/m; \
        home=$home/m";
    let text = spoiled(overlay);
    assert!(
        text.contains("limited") && text.contains("LOCKGATE_HOME"),
        "{text}"
    );
}
