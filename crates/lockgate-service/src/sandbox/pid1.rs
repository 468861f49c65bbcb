//! B: pid 1 of an instance. Builds the root, hardens itself, starts the program, supervises it.
//!
//! It never executes itself again after the pivot: the loader of a dynamic binary is not in the
//! image, and if it were, the image would choose the code that runs.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sys::signal::{SigSet, Signal};
use rustix::fs::{Mode, OFlags};
use rustix::thread::CapabilitySet;

use super::channel::{self, Report};
use super::output::Output;
use super::spec::{self, IdMap, ProgramSpec, SandboxSpec};
use super::supervise::Supervisor;
use super::{Step as _, StepError, harden, root};

/// The program is a better victim than B when memory runs out.
const PROGRAM_OOM_SCORE_ADJ: &str = "500";
/// Message of netlink that brings the loopback interface up.
const LOOPBACK_UP: [u32; 8] = [
    32,             // length
    16 | (5 << 16), // RTM_NEWLINK; REQUEST | ACK
    0,              // sequence
    0,              // port
    0,              // family, type
    1,              // index: lo is always the first
    1,              // IFF_UP
    1,              // change mask
];

/// Name of the file in the output folder that holds `<pid> <start time>` of B.
pub(crate) const PID_FILE: &str = "pid";

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    /// Pid.
    pub(crate) pid: i32,
    /// Start time, clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub(crate) start: u64,
}

impl ProcessId {
    /// From the text of a `stat` file. The name in it may hold blanks and brackets.
    pub(crate) fn parse(stat: &str) -> Option<Self> {
        let pid = stat.split(' ').next()?.parse().ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let start = rest.split(' ').nth(19)?.parse().ok()?;
        Some(Self { pid, start })
    }
}

/// Why a start ended before the program ran.
enum StartError {
    Step(StepError),
    Program(io::Error),
}

impl From<StepError> for StartError {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

/// Entry point; the socket of A is stdin.
pub(super) fn run() -> io::Result<ExitCode> {
    let ((), fds) = channel::receive(rustix::stdio::stdin())?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    drop(null);
    let [node, spec_fd, lock, listener, out] = channel::exactly(fds)?;
    let spec: SandboxSpec = spec::from_memfd(spec_fd)?;
    let signals = forwarded_signals();
    signals.thread_block()?;
    write_pid(&out)?;
    let started = prepare(&spec).and_then(|oom| match &spec.program {
        Some(program) => start(program, spec.ids, &signals, oom).map(Some),
        None => Ok(None),
    });
    // Secrets are not kept longer than the program needs to start.
    drop(spec);
    let report = match &started {
        Ok(_) => Report::Started,
        Err(StartError::Step(error)) => Report::from(error),
        Err(StartError::Program(error)) => Report::ProgramFailed {
            errno: error.raw_os_error().unwrap_or(0),
        },
    };
    let told = channel::send(&node, &report, &[]);
    drop(node);
    let Ok(Some(mut child)) = started else {
        told?;
        return Ok(ExitCode::FAILURE);
    };
    let output = Output::new(
        out,
        [
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ],
    )?;
    // A node that died before it heard of the start finds the instance by its lock.
    let code = Supervisor::new(&child, &signals, listener, output)?.run();
    drop(lock);
    code
}

/// Leaves our pid as the machine sees it, with our start time, for a later node. Proc is still
/// the outer one, so it tells the outer pid.
fn write_pid(out: &OwnedFd) -> io::Result<()> {
    let stat = fs_err::read_to_string("/proc/self/stat")?;
    let id = ProcessId::parse(&stat).ok_or_else(|| io::Error::other("unreadable stat"))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(out, PID_FILE, flags, Mode::from_raw_mode(0o600))?;
    File::from(file).write_all(format!("{} {}\n", id.pid, id.start).as_bytes())
}

/// Everything that reaches pid 1 and is passed on to the program, and the news of its end.
fn forwarded_signals() -> SigSet {
    [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGCHLD,
    ]
    .into_iter()
    .collect()
}

/// All steps up to the last before the program. Gives our own, still writable `oom_score_adj`:
/// its file belongs to nobody inside once we are not dumpable.
fn prepare(spec: &SandboxSpec) -> Result<File, StartError> {
    rustix::process::setsid().step("setsid")?;
    let oom = File::options()
        .write(true)
        .open("/proc/self/oom_score_adj")
        .step("oom_score_adj")?;
    if spec.own_network {
        raise_loopback().step("loopback")?;
        // There is nobody else on this network, and the program has no capabilities: without
        // this an image that listens on port 80 could not.
        fs_err::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0").step("low ports")?;
    }
    root::enter(spec)?;
    rustix::system::sethostname(spec.id.as_bytes()).step("host name")?;
    harden::limit(&spec.rlimits)?;
    if let Some(program) = &spec.program {
        // As Docker does: a WORKDIR that no layer made is made now. If it cannot be, the start
        // of the program says so.
        let _ = fs_err::create_dir_all(&program.cwd);
    }
    harden::harden(CapabilitySet::KILL | CapabilitySet::SETUID | CapabilitySet::SETGID)?;
    Ok(oom)
}

fn raise_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with};
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let bytes: Vec<u8> = LOOPBACK_UP
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    send(&socket, &bytes, SendFlags::empty())?;
    let mut answer = [0; 64];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], rustix::net::RecvFlags::empty())?;
    // NLMSG_ERROR: the code follows the 16 bytes of the header and is 0 for an acknowledgement.
    match answer.get(16..20).filter(|_| length >= 20) {
        Some(code) => match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(-code)),
        },
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn start(
    program: &ProgramSpec,
    ids: IdMap,
    signals: &SigSet,
    mut oom: File,
) -> Result<Child, StartError> {
    oom.write_all(PROGRAM_OOM_SCORE_ADJ.as_bytes())
        .step("oom_score_adj")?;
    // A child inherits the mask; what arrives meanwhile is looked for by the supervisor's first
    // round.
    signals.thread_unblock().step("signal mask")?;
    let child = command(program, ids).spawn();
    signals.thread_block().step("signal mask")?;
    let child = child.map_err(StartError::Program)?;
    // Going back to what we had needs no privilege.
    oom.write_all(b"0").step("oom_score_adj")?;
    harden::keep_only(CapabilitySet::KILL).step("drop capabilities")?;
    Ok(child)
}

/// The program as the image means it, with its output in pipes.
pub(super) fn command(program: &ProgramSpec, ids: IdMap) -> Command {
    let (name, args) = program
        .argv
        .split_first()
        .map_or(("", &[][..]), |(n, a)| (n.as_str(), a));
    let mut command = Command::new(name);
    command
        .args(args)
        .env_clear()
        .envs(&program.env)
        .current_dir(&program.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if ids == IdMap::Range {
        // With a single id this would call setgroups, which is denied there.
        command.uid(program.uid).gid(program.gid);
    }
    command
}
