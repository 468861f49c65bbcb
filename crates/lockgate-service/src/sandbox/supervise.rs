//! B's life after the start: one thread in `poll` over signals, control clients and two pipes.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::{Child, ExitCode};
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat, renameat};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept_with, connect, ipproto, socket_with,
};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::channel::{self, Request, Response};
use super::output::{Output, now_ms};

/// Name of the exit report in the output folder.
pub(crate) const EXIT_FILE: &str = "exit.json";
/// Most control clients at once; further ones wait in the accept queue.
const CLIENTS_MAX: usize = 64;

/// What is left when the program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitFile {
    /// Exit code, if it exited.
    pub(crate) code: Option<i32>,
    /// Signal, if one ended it.
    pub(crate) signal: Option<i32>,
    /// Wall time.
    pub(crate) at_ms: i64,
}

/// The state of the loop.
pub(super) struct Supervisor {
    program: Pid,
    signals: SignalFd,
    listener: OwnedFd,
    output: Output,
    clients: Vec<OwnedFd>,
    /// Monotonic time of the kill, once a stop was asked for.
    kill_at: Option<Duration>,
}

/// What `poll` can wake for.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Pipe(usize),
    Client(usize),
}

impl Supervisor {
    pub(super) fn new(
        program: &Child,
        signals: &SigSet,
        listener: OwnedFd,
        output: Output,
    ) -> io::Result<Self> {
        let program = i32::try_from(program.id()).ok().and_then(Pid::from_raw);
        Ok(Self {
            program: program.ok_or_else(|| io::Error::other("the program has no pid"))?,
            signals: SignalFd::with_flags(signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
            listener,
            output,
            clients: Vec::new(),
            kill_at: None,
        })
    }

    /// Runs until the program has ended. The end of pid 1 makes the kernel kill what is left.
    pub(super) fn run(mut self) -> io::Result<ExitCode> {
        // A child that ended before its signal was blocked again left no signal.
        let mut ended = self.reap()?;
        while ended.is_none() {
            for source in self.wait()? {
                match source {
                    Source::Signals => self.forward()?,
                    Source::Listener => self.accept(),
                    Source::Pipe(index) => {
                        self.output.pump(index);
                    }
                    Source::Client(index) => self.serve(index),
                }
            }
            // Dropped clients leave holes until here, so that indices stay true in the round.
            self.clients.retain(|fd| !is_hung_up(fd.as_fd()));
            if self.kill_at.is_some_and(|at| monotonic() >= at) {
                self.kill_at = None;
                kill_if_there(self.program, Signal::KILL)?;
            }
            ended = self.reap()?;
        }
        self.output.drain();
        if let Some(status) = ended {
            write_exit(self.output.folder(), status)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::from_borrowed_fd(
            self.signals.as_fd(),
            PollFlags::IN,
        )];
        if self.clients.len() < CLIENTS_MAX {
            sources.push(Source::Listener);
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        for (index, pipe) in self.output.open_pipes() {
            sources.push(Source::Pipe(index));
            fds.push(PollFd::from_borrowed_fd(pipe, PollFlags::IN));
        }
        for (index, client) in self.clients.iter().enumerate() {
            sources.push(Source::Client(index));
            fds.push(PollFd::new(client, PollFlags::IN));
        }
        let timeout = self
            .kill_at
            .map(|at| at.saturating_sub(monotonic()))
            .and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = sources.into_iter().zip(&fds);
        Ok(ready
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(source, _)| source)
            .collect())
    }

    fn forward(&self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let signal = i32::try_from(info.ssi_signo)
                .ok()
                .and_then(Signal::from_named_raw);
            match signal {
                Some(Signal::CHILD) | None => {}
                Some(signal) => kill_if_there(self.program, signal)?,
            }
        }
        Ok(())
    }

    /// Collects every ended child; pid 1 inherits orphans. The program's status, if it was one.
    fn reap(&self) -> io::Result<Option<WaitStatus>> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => return Ok(Some(status)),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn accept(&mut self) {
        // A client that left while it waited is no concern of ours.
        if let Ok(client) =
            accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
        {
            self.clients.push(client);
        }
    }

    /// Answers one request. An answer that does not fit the client's queue is dropped with the
    /// rest of a client that does not read: it must not hold up the program's log.
    fn serve(&mut self, index: usize) {
        let Some(client) = self.clients.get(index) else {
            return;
        };
        let Ok((request, _)) = channel::receive::<Request>(client) else {
            // Gone or talking nonsense: shut down, so that the round's end removes it.
            let _ = rustix::net::shutdown(client, rustix::net::Shutdown::Both);
            return;
        };
        let _ = match request {
            Request::Connect { port } => match connect_inside(port) {
                Ok(socket) => channel::send(client, &Response::Done, &[socket.as_fd()]),
                Err(errno) => refuse(client, errno),
            },
            Request::Stop {
                signal,
                deadline_ms,
            } => {
                let at = monotonic().saturating_add(Duration::from_millis(deadline_ms));
                self.kill_at = Some(self.kill_at.map_or(at, |old| old.min(at)));
                match Signal::from_named_raw(signal).map(|s| kill_process(self.program, s)) {
                    Some(Ok(())) => channel::send(client, &Response::Done, &[]),
                    Some(Err(errno)) => refuse(client, errno),
                    None => refuse(client, rustix::io::Errno::INVAL),
                }
            }
        };
    }
}

fn refuse(client: &OwnedFd, errno: rustix::io::Errno) -> io::Result<()> {
    let errno = errno.raw_os_error();
    channel::send(client, &Response::Refused { errno }, &[])
}

/// A connection to a port of the instance. It may still be in progress: a full accept queue of
/// the program must not hang B.
fn connect_inside(port: u16) -> Result<OwnedFd, rustix::io::Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        flags,
        Some(ipproto::TCP),
    )?;
    let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
    match connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn is_hung_up(client: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(client, PollFlags::empty())];
    let now = Timespec::default();
    poll(&mut fds, Some(&now)).is_ok()
        && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

fn kill_if_there(pid: Pid, signal: Signal) -> io::Result<()> {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}

fn write_exit(folder: BorrowedFd<'_>, status: WaitStatus) -> io::Result<()> {
    let exit = ExitFile {
        code: status.exit_status(),
        signal: status.terminating_signal(),
        at_ms: now_ms(),
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mut file = File::from(openat(
        folder,
        "exit.new",
        flags,
        Mode::from_raw_mode(0o600),
    )?);
    file.write_all(&serde_json::to_vec(&exit)?)?;
    file.sync_all()?;
    Ok(renameat(folder, "exit.new", folder, EXIT_FILE)?)
}
