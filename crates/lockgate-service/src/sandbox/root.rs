//! The root file system of an instance, built in the staging tmpfs and then pivoted into.

use std::ffi::CString;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, StatVfsMountFlags, symlinkat};
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::spec::{RootSpec, SandboxSpec};
use super::{Step as _, StepError};

/// Folders that mounts need; they come from the skeleton, so that even an image from scratch has
/// them and the image's folder stays clean.
pub(crate) const MOUNT_POINTS: [&str; 5] = ["proc", "dev", "sys", "tmp", "etc"];
/// Device files bound from the machine.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Files of proc that tell about, or act on, the machine: concealed by `/dev/null`.
const MASKED_FILES: [&str; 6] = [
    "kcore",
    "keys",
    "timer_list",
    "sched_debug",
    "latency_stats",
    "sysrq-trigger",
];
/// Folders of proc concealed by an empty tmpfs.
const MASKED_FOLDERS: [&str; 2] = ["acpi", "scsi"];
/// Folders of proc that can only be read.
const READ_ONLY_FOLDERS: [&str; 4] = ["bus", "fs", "irq", "sys"];

/// Builds the root and moves into it.
pub(super) fn enter(spec: &SandboxSpec) -> Result<(), StepError> {
    let root = format!("{}/root", spec.staging);
    fs_err::create_dir(&root).step("root")?;
    mount_root(spec, &root)?;
    mount_proc(&root)?;
    mount_dev(&root)?;
    mount(
        "tmpfs",
        format!("{root}/tmp"),
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(c"mode=1777,size=256m"),
    )
    .step("/tmp")?;
    if let RootSpec::Copy {
        read_only: true, ..
    } = spec.root
    {
        remount_read_only(&root, MountFlags::NOSUID | MountFlags::NODEV).step("read-only root")?;
    }
    chdir(root.as_str()).step("pivot")?;
    pivot_root(".", ".").step("pivot")?;
    unmount(".", UnmountFlags::DETACH).step("pivot")?;
    chdir("/").step("pivot")
}

fn mount_root(spec: &SandboxSpec, root: &str) -> Result<(), StepError> {
    let skeleton = format!("{}/skel", spec.staging);
    match &spec.root {
        RootSpec::Overlay { lower, writable } => {
            lay_skeleton(Path::new(&skeleton), &spec.id, &spec.resolv_conf).step("skeleton")?;
            let mut options = format!("lowerdir={skeleton}:{lower},userxattr");
            if let Some((upper, work)) = writable {
                options.push_str(&format!(",upperdir={upper},workdir={work}"));
            }
            let options = CString::new(options)
                .map_err(io::Error::from)
                .step("overlay")?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            mount("overlay", root, "overlay", flags, Some(options.as_c_str())).step("overlay")
        }
        RootSpec::Copy { path, .. } => mount_bind_recursive(path.as_str(), root).step("bind root"),
    }
}

/// Writes the mount points and the three files that every instance gets.
pub(crate) fn lay_skeleton(folder: &Path, host: &str, resolv_conf: &str) -> io::Result<()> {
    for point in MOUNT_POINTS {
        fs_err::create_dir_all(folder.join(point))?;
    }
    let hosts = format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {host}\n");
    fs_err::write(folder.join("etc/hosts"), hosts)?;
    fs_err::write(folder.join("etc/hostname"), format!("{host}\n"))?;
    fs_err::write(folder.join("etc/resolv.conf"), resolv_conf)
}

fn mount_proc(root: &str) -> Result<(), StepError> {
    let proc = format!("{root}/proc");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", proc.as_str(), "proc", flags, None).step("proc")?;
    for name in MASKED_FILES {
        let path = format!("{proc}/{name}");
        if Path::new(&path).exists() {
            mount_bind("/dev/null", path.as_str()).step("mask proc")?;
        }
    }
    for name in MASKED_FOLDERS {
        let path = format!("{proc}/{name}");
        if Path::new(&path).is_dir() {
            let flags = flags | MountFlags::RDONLY;
            mount("tmpfs", path.as_str(), "tmpfs", flags, Some(c"size=4k")).step("mask proc")?;
        }
    }
    for name in READ_ONLY_FOLDERS {
        let path = format!("{proc}/{name}");
        if Path::new(&path).is_dir() {
            mount_bind(path.as_str(), path.as_str()).step("read-only proc")?;
            remount_read_only(&path, flags).step("read-only proc")?;
        }
    }
    Ok(())
}

fn mount_dev(root: &str) -> Result<(), StepError> {
    let dev = format!("{root}/dev");
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(
        "tmpfs",
        dev.as_str(),
        "tmpfs",
        flags,
        Some(c"mode=0755,size=64k"),
    )
    .step("/dev")?;
    for name in DEVICES {
        let target = format!("{dev}/{name}");
        fs_err::write(&target, "").step("/dev")?;
        mount_bind(format!("/dev/{name}"), target).step("/dev")?;
    }
    for (name, target) in DEVICE_LINKS {
        symlinkat(target, CWD, format!("{dev}/{name}")).step("/dev")?;
    }
    for name in ["pts", "shm", "mqueue"] {
        fs_err::create_dir(format!("{dev}/{name}")).step("/dev")?;
    }
    let mounts = [
        (
            "devpts",
            "pts",
            Some(c"newinstance,ptmxmode=0666,mode=0620"),
        ),
        ("tmpfs", "shm", Some(c"mode=1777,size=64m")),
        ("mqueue", "mqueue", None),
    ];
    for (kind, name, options) in mounts {
        let flags = flags
            | if kind == "devpts" {
                MountFlags::empty()
            } else {
                MountFlags::NODEV
            };
        mount(kind, format!("{dev}/{name}"), kind, flags, options).step("/dev")?;
    }
    remount_read_only(&dev, flags).step("/dev")
}

/// Remounts read-only. In a user name space the flags of the outer mount are locked, so they
/// must be stated again or the kernel answers EPERM.
pub(super) fn remount_read_only(path: &str, more: MountFlags) -> io::Result<()> {
    let now = rustix::fs::statvfs(path)?.f_flag;
    let kept = [
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
    ];
    let flags = kept
        .into_iter()
        .filter(|(seen, _)| now.contains(*seen))
        .fold(more, |flags, (_, flag)| flags | flag);
    let flags = flags | MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
    Ok(mount_remount(path, flags, "")?)
}
