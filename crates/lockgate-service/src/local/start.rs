//! Starts an instance: from a request and an image to a program that runs.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::cgroup::Groups;
use super::folder::{FolderFds, InstanceFolder, RANGE_BASE, RANGE_COUNT, Running};
use super::stored::{Started, StoredInstance};
use super::user::{self, User};
use super::{Inner, copy};
use crate::image::{IdRange, LocalImage};
use crate::platform::{InstanceSpec, ServiceError};
use crate::sandbox::INIT;
use crate::sandbox::channel::{self, Report};
use crate::sandbox::root::lay_skeleton;
use crate::sandbox::spec::{IdMap, ProgramSpec, Rlimits, RootSpec, SandboxSpec, to_memfd};

/// A sandbox takes 10 ms; a machine under load 100 times as long.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Ports below the range that the kernel gives to outgoing connections, so that only another
/// listener can take one between our look and the program's bind.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Tries to find a free one.
const PORT_TRIES: u32 = 256;
/// Enough for servers; the machine's hard limit is the upper bound.
const OPEN_FILES: u64 = 65_536;
/// Processes and threads of an instance whose limits do not say.
const PROCESSES: u64 = 4_096;
/// A resolver file is short.
const RESOLV_CONF_BYTES_MAX: usize = 64 << 10;
/// What a program finds when its image has no PATH, as with Docker.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// B: its pid and what names it for good.
type Process = (u32, OwnedFd);

/// Starts an instance. Blocks.
pub(super) fn start(inner: &Inner, spec: InstanceSpec) -> Result<Running, ServiceError> {
    let home = &inner.settings.home;
    let folder = InstanceFolder::of(home, &spec.id).ok_or_else(|| {
        ServiceError::Spec(format!(
            "instance id `{}` is not 1 to 64 of a-z, 0-9 and -",
            spec.id
        ))
    })?;
    if folder.exists() {
        return Err(ServiceError::Spec(format!(
            "instance `{}` exists already",
            spec.id
        )));
    }
    let prepared = Prepared::new(inner, &spec)?;
    let result = prepared.launch(inner, &spec, &folder);
    match result {
        Err(Failure::Overlay(_)) if !inner.no_overlay.swap(true, Ordering::Relaxed) => {
            folder.remove()?;
            prepared.launch(inner, &spec, &folder)
        }
        other => other,
    }
    .map_err(|failure| {
        // What is left of a failed start is of no use; the failure tells more than a second one.
        let _ = folder.remove();
        failure.into_error()
    })
}

/// Why a launch failed; an overlay that is refused is tried again as a copy.
enum Failure {
    Overlay(ServiceError),
    Other(ServiceError),
}

impl Failure {
    fn into_error(self) -> ServiceError {
        match self {
            Self::Overlay(error) | Self::Other(error) => error,
        }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self::Other(error)
    }
}

/// All decisions about an instance, before anything is made.
struct Prepared {
    image: LocalImage,
    program: ProgramSpec,
    /// The program's environment without the service's secrets.
    public_env: BTreeMap<String, String>,
    ids: IdMap,
    port: u16,
    stop_signal: i32,
}

impl Prepared {
    fn new(inner: &Inner, spec: &InstanceSpec) -> Result<Self, ServiceError> {
        let service = &spec.service;
        let reference = service.image.to_string();
        let range = inner.is_root.then_some(IdRange {
            base: RANGE_BASE,
            count: RANGE_COUNT,
        });
        let image = inner
            .images
            .lay_out(&service.image, range)
            .map_err(|source| ServiceError::Image {
                image: reference.clone(),
                source,
            })?;
        let user = user::resolve(&image.root, &image.user).map_err(ServiceError::Spec)?;
        if inner.is_root && (user.uid >= RANGE_COUNT || user.gid >= RANGE_COUNT) {
            let message = format!(
                "user `{}` of image `{reference}` is not below {RANGE_COUNT}",
                image.user
            );
            return Err(ServiceError::Spec(message));
        }
        let argv = match &service.command {
            Some(command) => command.clone(),
            None => [image.entrypoint.clone(), image.cmd.clone()].concat(),
        };
        if argv.is_empty() {
            let message = format!(
                "image `{reference}` has no ENTRYPOINT or CMD, and the service no `command`"
            );
            return Err(ServiceError::Spec(message));
        }
        let port = match service.fixed_port {
            Some(port) => port,
            None => free_port(inner)?,
        };
        let public_env = environment(&image, spec, &user, port);
        let mut env = public_env.clone();
        env.extend(
            service
                .secret_env
                .iter()
                .map(|(k, v)| (k.clone(), v.expose().clone())),
        );
        let nul = |text: &String| text.contains('\0');
        if argv.iter().any(nul) || env.iter().any(|(k, v)| nul(k) || nul(v) || k.contains('=')) {
            let message = "an argument or environment variable holds a NUL, or a name an `=`";
            return Err(ServiceError::Spec(message.to_owned()));
        }
        let cwd = if image.working_dir.is_empty() {
            "/"
        } else {
            &image.working_dir
        };
        Ok(Self {
            program: ProgramSpec {
                argv,
                env,
                uid: user.uid,
                gid: user.gid,
                cwd: cwd.to_owned(),
            },
            public_env,
            ids: if inner.is_root {
                IdMap::Range
            } else {
                IdMap::Single {
                    uid: user.uid,
                    gid: user.gid,
                }
            },
            port,
            stop_signal: stop_signal(&image.stop_signal)?,
            image,
        })
    }

    fn launch(
        &self,
        inner: &Inner,
        spec: &InstanceSpec,
        folder: &InstanceFolder,
    ) -> Result<Running, Failure> {
        let instance = spec.id.as_str();
        let failed = |what: &str| ServiceError::io(format!("{what} of instance `{instance}`"));
        let owner = inner.is_root.then_some(RANGE_BASE);
        let fds = folder.make(owner).map_err(failed("make the folder"))?;
        let limits = &spec.service.limits;
        let groups = inner
            .cgroups
            .make(instance, limits.memory_bytes, limits.processes)?;
        let sandbox = self.sandbox_spec(inner, spec, folder, &groups)?;
        let stored = StoredInstance::new(
            spec,
            Started {
                started_ms: inner.settings.clock.now().as_millis(),
                port: self.port,
                stop_signal: self.stop_signal,
                ids: self.ids,
                uid: self.program.uid,
                gid: self.program.gid,
                cwd: self.program.cwd.clone(),
                env: self.public_env.clone(),
                rlimits: sandbox.rlimits.clone(),
                notes: notes(spec, &groups),
                cgroups: groups.folders,
            },
        );
        folder.save(&stored).map_err(failed("save the facts"))?;
        let (pid, pidfd) = launch(inner, &sandbox, &fds, folder, &self.program, spec)?;
        Ok(Running {
            pid,
            pidfd,
            stored,
            folder: folder.clone(),
        })
    }

    fn sandbox_spec(
        &self,
        inner: &Inner,
        spec: &InstanceSpec,
        folder: &InstanceFolder,
        groups: &Groups,
    ) -> Result<SandboxSpec, ServiceError> {
        let home = &inner.settings.home;
        let relative = |path: &Path| below(home, path);
        let limits = &spec.service.limits;
        let own_network = spec.service.fixed_port.is_some();
        let resolv_conf = if own_network {
            String::new()
        } else {
            resolv_conf()
        };
        let read_only = spec.service.read_only_root;
        let root = if inner.no_overlay.load(Ordering::Relaxed) {
            let path = folder.path().join("upper");
            let made = copy::copy_tree(&self.image.root, &path)
                .and_then(|()| lay_skeleton(&path, &spec.id, &resolv_conf));
            made.map_err(ServiceError::io(format!(
                "copy the image for instance `{}`",
                spec.id
            )))?;
            RootSpec::Copy {
                path: relative(&path)?,
                read_only,
            }
        } else {
            let upper = relative(&folder.path().join("upper"))?;
            let work = relative(&folder.path().join("work"))?;
            RootSpec::Overlay {
                lower: relative(&self.image.root)?,
                writable: (!read_only).then_some((upper, work)),
            }
        };
        let processes = limits.processes.unwrap_or(PROCESSES);
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        Ok(SandboxSpec {
            id: spec.id.clone(),
            staging: relative(&folder.path().join("mnt"))?,
            exe: inner.exe.clone(),
            cgroups: groups
                .folders
                .iter()
                .map(|f| format!("{f}/cgroup.procs"))
                .collect(),
            own_network,
            ids: self.ids,
            root,
            resolv_conf,
            rlimits: Rlimits {
                open_files: limits.open_files.unwrap_or(OPEN_FILES),
                processes: (!groups.limits_processes && counts_by_name_space(&release))
                    .then_some(processes),
                data_bytes: limits.memory_bytes.filter(|_| !groups.limits_memory),
            },
            program: Some(self.program.clone()),
        })
    }
}

/// Whether the kernel of this release counts processes per user name space. Before 5.14 the limit
/// would count all processes of the node's user.
fn counts_by_name_space(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 14),
        _ => false,
    }
}

/// A path relative to the home, as mount options can hold it.
pub(super) fn below(home: &Path, path: &Path) -> Result<String, ServiceError> {
    let relative = path.strip_prefix(home).ok().and_then(Path::to_str);
    let proper = |text: &&str| !text.contains([':', ',', '\\']);
    relative.filter(proper).map(str::to_owned).ok_or_else(|| {
        ServiceError::Spec(format!(
            "{} is not a plain path below the node's home",
            path.display()
        ))
    })
}

/// What the status must say about limits.
fn notes(spec: &InstanceSpec, groups: &Groups) -> Vec<String> {
    let mut notes = Vec::new();
    if spec.service.limits.memory_bytes.is_some() && !groups.limits_memory {
        notes.push(
            "no memory cgroup: memory is limited per process, by its data segment".to_owned(),
        );
    }
    if spec.service.fixed_port.is_some() {
        notes.push("own network: nothing outside can be reached from inside".to_owned());
    }
    notes
}

fn environment(
    image: &LocalImage,
    spec: &InstanceSpec,
    user: &User,
    port: u16,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOME".to_owned(), user.home.clone()),
        ("HOSTNAME".to_owned(), spec.id.clone()),
    ]);
    env.extend(image.env.clone());
    env.extend(spec.service.env.clone());
    // Last: a program on the machine's network must not take another port.
    env.insert("PORT".to_owned(), port.to_string());
    env
}

fn resolv_conf() -> String {
    let mut text = fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if text.len() > RESOLV_CONF_BYTES_MAX {
        text.clear();
    }
    text
}

/// `SIGQUIT`, `QUIT` or a number (OCI image-spec config.md, `StopSignal`).
fn stop_signal(text: &str) -> Result<i32, ServiceError> {
    if text.is_empty() {
        return Ok(Signal::SIGTERM as i32);
    }
    let number = text
        .parse::<i32>()
        .ok()
        .and_then(|n| Signal::try_from(n).ok());
    let named = || Signal::from_str(&format!("SIG{}", text.trim_start_matches("SIG"))).ok();
    let signal = number.or_else(named).map(|signal| signal as i32);
    signal.ok_or_else(|| ServiceError::Spec(format!("stop signal `{text}` is not a signal")))
}

/// A port that nobody holds now and no instance of ours was given.
fn free_port(inner: &Inner) -> Result<u16, ServiceError> {
    for _ in 0..PORT_TRIES {
        let span = u64::from(PORTS.end - PORTS.start);
        let step = u16::try_from(inner.settings.rng.next_u64() % span).unwrap_or(0);
        let port = PORTS.start + step;
        let given = || {
            let live = inner.live.lock();
            live.values()
                .any(|live| !live.stored.own_network && live.stored.port == port)
        };
        if !given() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(ServiceError::Spec(format!(
        "no free port found in {PORTS:?}"
    )))
}

/// Spawns A and follows its and B's reports until the program runs.
fn launch(
    inner: &Inner,
    sandbox: &SandboxSpec,
    fds: &FolderFds,
    folder: &InstanceFolder,
    program: &ProgramSpec,
    spec: &InstanceSpec,
) -> Result<Process, Failure> {
    let failed = |what: &str| ServiceError::io(format!("{what} of instance `{}`", spec.id));
    let step_failed = |step: String, source: io::Error| ServiceError::Sandbox {
        instance: spec.id.clone(),
        step,
        source,
    };
    let talk = failed("talk to the sandbox");
    let mut launched = Launch::spawn(
        &inner.settings.exe,
        &inner.settings.home,
        sandbox,
        fds,
        &folder.out(),
    )
    .map_err(failed("spawn the sandbox"))?;
    let (last, process) = launched.follow().map_err(talk)?;
    let error = match (last, process) {
        (Some(Report::Started), Some(process)) => return Ok(process),
        (Some(Report::ProgramFailed { errno }), _) => ServiceError::Program {
            program: program.argv.first().cloned().unwrap_or_default(),
            image: spec.service.image.to_string(),
            source: io::Error::from_raw_os_error(errno),
        },
        (Some(Report::StepFailed { step, errno, text }), _) => {
            let source = match errno {
                0 => io::Error::other(text),
                errno => io::Error::from_raw_os_error(errno),
            };
            let is_overlay = step == "overlay";
            let error = step_failed(step, source);
            return Err(if is_overlay {
                Failure::Overlay(error)
            } else {
                Failure::Other(error)
            });
        }
        _ => step_failed(
            "it ended without a word".to_owned(),
            io::ErrorKind::UnexpectedEof.into(),
        ),
    };
    Err(error.into())
}

/// A sandbox that is being started. Also what the doctor tries.
pub(super) struct Launch {
    socket: OwnedFd,
    init: Child,
}

impl Launch {
    /// Spawns A and hands over the spec and the folder's descriptors.
    pub(super) fn spawn(
        exe: &Path,
        home: &Path,
        sandbox: &SandboxSpec,
        fds: &FolderFds,
        out: &Path,
    ) -> io::Result<Self> {
        let errors = fs_err::File::create(out.join("sandbox.err"))?;
        let (ours, theirs) = channel::pair()?;
        set_socket_timeout(&ours, Timeout::Recv, Some(START_TIMEOUT))?;
        let spec = to_memfd(sandbox)?;
        let init = Command::new(exe)
            .arg(INIT)
            .env_clear()
            .current_dir(home)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::from(errors.into_file()))
            .spawn()?;
        let launched = Self { socket: ours, init };
        let passed = [&spec, &fds.lock, &fds.listener, &fds.out];
        channel::send(&launched.socket, &(), &passed.map(|fd| fd.as_fd()))?;
        Ok(launched)
    }

    /// Answers A and waits for the last word of B. On silence everything is killed.
    pub(super) fn follow(&mut self) -> io::Result<(Option<Report>, Option<Process>)> {
        let mut process = None;
        let last = loop {
            match channel::receive::<Report>(&self.socket) {
                Ok((Report::MapsWanted, _)) => {
                    self.write_maps()?;
                    channel::send(&self.socket, &(), &[])?;
                }
                Ok((Report::Spawned(pid), _)) => process = open_pid(pid)?,
                Ok((last, _)) => break Some(last),
                Err(_) => break None,
            }
        };
        if last.is_none() {
            // Both fail only on what is gone already.
            let _ = self.init.kill();
            if let Some((_, pidfd)) = &process {
                let _ = pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
            }
        }
        self.init.wait()?;
        if last != Some(Report::Started)
            && let Some((_, pidfd)) = process.take()
        {
            await_end(&pidfd)?;
        }
        Ok((last, process))
    }

    fn write_maps(&self) -> io::Result<()> {
        let map = format!("0 {RANGE_BASE} {RANGE_COUNT}\n");
        fs_err::write(format!("/proc/{}/uid_map", self.init.id()), &map)?;
        fs_err::write(format!("/proc/{}/gid_map", self.init.id()), &map)
    }
}

fn open_pid(pid: u32) -> io::Result<Option<Process>> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match raw.map(|raw| pidfd_open(raw, PidfdFlags::NONBLOCK)) {
        Some(Ok(pidfd)) => Ok(Some((pid, pidfd))),
        Some(Err(rustix::io::Errno::SRCH)) | None => Ok(None),
        Some(Err(error)) => Err(error.into()),
    }
}

/// Waits for the end of a sandbox that failed to start, and collects it.
pub(super) fn await_end(pidfd: &OwnedFd) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let timeout = Timespec::try_from(START_TIMEOUT).ok();
    rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_compared_as_numbers() {
        for (release, expected) in [
            ("6.18.44-fc", true),
            ("5.14.0", true),
            ("5.4.0-150-generic", false),
            ("4.19", false),
            ("odd", false),
        ] {
            assert_eq!(counts_by_name_space(release), expected, "{release}");
        }
    }

    #[test]
    fn stop_signals_are_names_or_numbers() {
        for (text, expected) in [("", 15), ("SIGQUIT", 3), ("INT", 2), ("10", 10)] {
            assert_eq!(stop_signal(text).unwrap(), expected, "{text}");
        }
        for text in ["SIGNOTHING", "0", "99", "term"] {
            assert!(stop_signal(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn mount_options_only_get_plain_paths() {
        let home = Path::new("/home");
        assert_eq!(
            below(home, Path::new("/home/rootfs/ab")).unwrap(),
            "rootfs/ab"
        );
        for path in ["/elsewhere", "/home/a:b", "/home/a,b"] {
            assert!(below(home, Path::new(path)).is_err(), "{path} was accepted");
        }
    }
}
