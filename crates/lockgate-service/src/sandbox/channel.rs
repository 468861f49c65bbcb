//! Messages between node, A and B: one JSON object and some file descriptors per packet of a
//! `SOCK_SEQPACKET` socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

/// Largest message; the spec travels by memfd, so messages are short.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4096;
/// Most descriptors in one message.
const FDS_MAX: usize = 8;

/// What A and B tell the node while an instance starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A waits for the node to write its id maps.
    MapsWanted,
    /// A started B, whose pid as the machine sees it is this.
    Spawned(u32),
    /// B started the program.
    Started,
    /// The program could not be started.
    ProgramFailed {
        /// Its errno.
        errno: i32,
    },
    /// Some other step failed.
    StepFailed {
        /// Its name.
        step: String,
        /// Its errno; 0 if the error did not come from the kernel.
        errno: i32,
        /// The error as text.
        text: String,
    },
}

/// What the node asks of a running B. Names are kept across versions of the binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Signal the program, kill it after the deadline.
    Stop {
        /// Signal number.
        signal: i32,
        /// Milliseconds.
        deadline_ms: u64,
    },
    /// Open a connection to a port inside.
    Connect {
        /// Port.
        port: u16,
    },
}

/// B's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Response {
    /// Done; a connection comes with its descriptor.
    Done,
    /// Not done.
    Refused {
        /// Errno.
        errno: i32,
    },
}

/// A connected pair of packet sockets.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message.
pub(crate) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    let iov = [IoSlice::new(&bytes)];
    rustix::io::retry_on_intr(|| sendmsg(socket.as_fd(), &iov, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives one message; `UnexpectedEof` when the peer is gone.
pub(crate) fn receive<T: for<'a> Deserialize<'a>>(
    socket: impl AsFd,
) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut iov = [IoSliceMut::new(&mut bytes)];
        match recvmsg(
            socket.as_fd(),
            &mut iov,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((serde_json::from_slice(&bytes[..received.bytes])?, fds))
}

/// Exactly `N` descriptors, in the order they were sent.
pub(crate) fn exactly<const N: usize>(fds: Vec<OwnedFd>) -> io::Result<[OwnedFd; N]> {
    fds.try_into()
        .map_err(|_| io::Error::other("a message came with the wrong number of descriptors"))
}

impl From<&super::StepError> for Report {
    fn from(error: &super::StepError) -> Self {
        Self::StepFailed {
            step: error.step.to_owned(),
            errno: error.source.raw_os_error().unwrap_or(0),
            text: error.source.to_string(),
        }
    }
}
