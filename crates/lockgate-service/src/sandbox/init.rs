//! A: makes the name spaces, maps the ids, starts B in them and exits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::channel::{self, Report};
use super::root::remount_read_only;
use super::spec::{self, IdMap, SandboxSpec};
use super::{PID1, Step as _, StepError};

/// Entry point; the node's socket is stdin.
pub(super) fn run() -> io::Result<ExitCode> {
    close_fds::set_fds_cloexec(3, &[]);
    let node = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let ((), fds) = channel::receive(&node)?;
    let [spec_fd, lock, listener, out] = channel::exactly(fds)?;
    // B reads the spec too, from the same memfd.
    let spec: SandboxSpec = spec::from_memfd(spec_fd.try_clone()?)?;
    let kept = [&node, &spec_fd, &lock, &listener, &out];
    match start(&spec, &node, kept) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            channel::send(&node, &Report::from(&error), &[])?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn start(spec: &SandboxSpec, node: &OwnedFd, kept: [&OwnedFd; 5]) -> Result<(), StepError> {
    for procs in &spec.cgroups {
        fs_err::write(procs, "0").step("cgroup")?;
    }
    let outside = (geteuid(), getegid());
    let mut spaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if spec.own_network {
        spaces |= CloneFlags::CLONE_NEWNET;
    }
    unshare(spaces).step("unshare")?;
    map_ids(spec.ids, outside, node).step("id map")?;
    keep_capabilities_over_exec().step("ambient capabilities")?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .step("private mounts")?;
    let staging = spec.staging.as_str();
    mount(
        "tmpfs",
        staging,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(c"mode=0755,size=1m"),
    )
    .step("staging tmpfs")?;
    // Named as it shall show in `ps`, and read-only: the program must not reach our binary.
    let exe = format!("{staging}/lockgate");
    fs_err::write(&exe, "").step("bind binary")?;
    mount_bind(spec.exe.as_str(), exe.as_str()).step("bind binary")?;
    remount_read_only(&exe, MountFlags::empty()).step("bind binary")?;
    spawn_pid1(spec, &exe, node, kept).step("start pid 1")
}

fn map_ids(ids: IdMap, outside: (Uid, Gid), node: &OwnedFd) -> io::Result<()> {
    match ids {
        IdMap::Single { uid, gid } => {
            fs_err::write("/proc/self/uid_map", format!("{uid} {} 1\n", outside.0))?;
            fs_err::write("/proc/self/setgroups", "deny")?;
            fs_err::write("/proc/self/gid_map", format!("{gid} {} 1\n", outside.1))
        }
        IdMap::Range => {
            channel::send(node, &Report::MapsWanted, &[])?;
            let ((), _) = channel::receive(node)?;
            // Without an id of its own the exec of B would lose all capabilities.
            set_thread_groups(&[])?;
            set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
            set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
            Ok(())
        }
    }
}

/// An exec by an inside id other than 0 clears capabilities that are not ambient.
fn keep_capabilities_over_exec() -> io::Result<()> {
    let sets = capabilities(None)?;
    set_capabilities(
        None,
        CapabilitySets {
            inheritable: sets.permitted,
            ..sets
        },
    )?;
    for capability in single_bits(sets.permitted) {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Each capability of a set.
pub(super) fn single_bits(set: CapabilitySet) -> impl Iterator<Item = CapabilitySet> {
    (0..64)
        .map(|bit| CapabilitySet::from_bits_retain(1 << bit))
        .filter(move |one| set.contains(*one))
}

fn spawn_pid1(
    spec: &SandboxSpec,
    exe: &str,
    node: &OwnedFd,
    kept: [&OwnedFd; 5],
) -> io::Result<()> {
    let (ours, theirs) = channel::pair()?;
    let child = Command::new(exe)
        .arg0(format!("lockgate: service {}", spec.id))
        .arg(PID1)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .spawn()?;
    channel::send(node, &Report::Spawned(child.id()), &[])?;
    channel::send(&ours, &(), &kept.map(AsFd::as_fd))
}
