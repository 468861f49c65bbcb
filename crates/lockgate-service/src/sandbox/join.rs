//! Runs one command inside a running instance, for health checks: enters its name spaces, takes
//! from itself what B took, and becomes the parent of the command.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Gid, Pid, PidfdFlags, Signal, Uid, chdir, kill_process_group, pidfd_open};
use rustix::thread::{
    CapabilitySet, ThreadNameSpaceType, move_into_thread_name_spaces, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use serde::{Deserialize, Serialize};

use super::channel::{self, Report};
use super::spec::{self, IdMap, ProgramSpec, Rlimits};
use super::{Step as _, StepError, harden, pid1};

/// What to run and as whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JoinSpec {
    /// The command.
    pub(crate) program: ProgramSpec,
    /// How the instance's ids map.
    pub(crate) ids: IdMap,
    /// The instance's own limits.
    pub(crate) rlimits: Rlimits,
    /// `cgroup.procs` files of the instance.
    pub(crate) cgroups: Vec<String>,
    /// Time limit of the command, milliseconds.
    pub(crate) timeout_ms: u64,
}

/// Exit code when the command was killed for its time, as of `timeout`.
pub(crate) const TIMED_OUT: i32 = 124;

/// Exit code when the command could not be run at all, as shells do.
const CANNOT_RUN: u8 = 126;

/// Entry point; the node's socket is stdin and brings the spec and B's pidfd.
pub(super) fn run() -> io::Result<ExitCode> {
    close_fds::set_fds_cloexec(3, &[]);
    let node = rustix::stdio::stdin();
    let ((), fds) = channel::receive(node)?;
    let [spec_fd, pidfd] = channel::exactly(fds)?;
    let spec: JoinSpec = spec::from_memfd(spec_fd)?;
    match enter(&spec, pidfd).and_then(|()| run_command(&spec).step("command")) {
        Ok(code) => Ok(code.map_or(ExitCode::FAILURE, ExitCode::from)),
        Err(error) => {
            channel::send(node, &Report::from(&error), &[])?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn enter(spec: &JoinSpec, pidfd: OwnedFd) -> Result<(), StepError> {
    for procs in &spec.cgroups {
        fs_err::write(procs, "0").step("cgroup")?;
    }
    let spaces = ThreadNameSpaceType::USER
        | ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::NETWORK;
    move_into_thread_name_spaces(pidfd.as_fd(), spaces).step("enter name spaces")?;
    drop(pidfd);
    if spec.ids == IdMap::Range {
        set_thread_groups(&[]).step("ids")?;
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).step("ids")?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).step("ids")?;
    }
    chdir("/").step("working folder")?;
    harden::limit(&spec.rlimits)?;
    harden::harden(CapabilitySet::KILL | CapabilitySet::SETUID | CapabilitySet::SETGID)
}

/// The exit code of the command, `None` for a signal, ours or another's.
fn run_command(spec: &JoinSpec) -> io::Result<Option<u8>> {
    let mut command = pid1::command(&spec.program, spec.ids);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let Ok(mut child) = command.spawn() else {
        return Ok(Some(CANNOT_RUN));
    };
    harden::keep_only(CapabilitySet::KILL)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the command has no pid"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let timeout = Timespec::try_from(Duration::from_millis(spec.timeout_ms)).ok();
    if rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))? == 0 {
        // The whole group: what the command started would go on inside.
        kill_process_group(pid, Signal::KILL)?;
        child.wait()?;
        return Ok(u8::try_from(TIMED_OUT).ok());
    }
    Ok(child
        .wait()?
        .code()
        .and_then(|code| u8::try_from(code).ok()))
}
