//! The node's side of an instance's control socket.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with,
};
use tokio::io::Interest;

use super::folder::InstanceFolder;
use super::{Live, watch_fd};
use crate::sandbox::channel::{self, Request, Response, exactly};

/// B answers within microseconds; after this it is stopped or stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends one request and waits for the answer; gives the descriptors that came with it.
pub(super) async fn ask(folder: &InstanceFolder, request: &Request) -> io::Result<Vec<OwnedFd>> {
    let (path, _folder) = folder.socket_path()?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect_to(&socket, &SocketAddrUnix::new(path.as_str())?)?;
    channel::send(&socket, request, &[])?;
    let socket = watch_fd(socket, Interest::READABLE)?;
    let answer = async {
        loop {
            let mut ready = socket.readable().await?;
            match ready.try_io(|fd| channel::receive::<Response>(fd.get_ref().as_fd())) {
                Ok(answer) => break answer,
                Err(_would_block) => {}
            }
        }
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await?? {
        (Response::Done, fds) => Ok(fds),
        (Response::Refused { errno }, _) => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A non-blocking connection to a port of an instance, connected.
pub(super) async fn connect(live: &Live, port: u16) -> io::Result<TcpStream> {
    if !live.stored.own_network {
        let address = (std::net::Ipv4Addr::LOCALHOST, port);
        return tokio::net::TcpStream::connect(address).await?.into_std();
    }
    let [socket] = exactly(ask(&live.folder, &Request::Connect { port }).await?)?;
    // It may still be in progress, when the accept queue of the program is full.
    let stream = tokio::net::TcpStream::from_std(TcpStream::from(socket))?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => stream.into_std(),
    }
}
