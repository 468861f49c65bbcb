//! TLS on a TCP connection, client side.
//!
//! Plaintext that was taken but could not leave yet is kept here, one write's worth at most, and
//! leaves with whatever is polled next, reads included: nobody has to flush.

use std::io::{self, BufRead as _, IoSlice, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::{Link, Tcp};

/// Most reads that are spent on what came while a connection was idle. Session tickets are a
/// few hundred bytes each; a server that sends more is not worth keeping.
const IDLE_READS_MAX: usize = 8;

/// A TLS connection.
#[derive(Debug)]
pub(crate) struct Tls {
    tcp: Tcp,
    session: ClientConnection,
    /// Writing failed. What the peer said before may still be read.
    broken: bool,
    /// What came cannot be opened. Told after all that could be.
    failed: Option<rustls::Error>,
    closing: bool,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// One side does not accept the other.
    Tls(rustls::Error),
    /// The connection ended or failed.
    Io(io::Error),
}

impl Tls {
    /// A connection whose handshake is to be made.
    pub(crate) fn new(
        tcp: Tcp,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            tcp,
            session: ClientConnection::new(config, name)?,
            broken: false,
            failed: None,
            closing: false,
        })
    }

    /// Makes the handshake. No byte of a request leaves before it is done.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), HandshakeError>> {
        loop {
            if !self.broken {
                match self.poll_push(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !self.session.is_handshaking() => {
                        return Poll::Ready(Ok(()));
                    }
                    // The alert that says why may be there to be read.
                    Poll::Ready(result) => self.broken = result.is_err(),
                }
            }
            match ready!(self.poll_fetch(cx)) {
                Ok(0) => {
                    let end = io::ErrorKind::UnexpectedEof.into();
                    return Poll::Ready(Err(HandshakeError::Io(end)));
                }
                Ok(_) => {}
                Err(e) => return Poll::Ready(Err(HandshakeError::Io(e))),
            }
            if let Err(e) = self.session.process_new_packets() {
                // Tells the peer why, if it can hear it.
                let _ = self.poll_push(cx);
                return Poll::Ready(Err(HandshakeError::Tls(e)));
            }
            if self.broken && !self.session.is_handshaking() {
                let end = io::ErrorKind::BrokenPipe.into();
                return Poll::Ready(Err(HandshakeError::Io(end)));
            }
        }
    }

    /// Like [`Tcp::is_stale`]. What the peer may send unasked, such as session tickets, is taken
    /// and makes no connection stale.
    pub(crate) fn is_stale(&mut self, prove: bool) -> bool {
        let nothing_read = |session: &mut ClientConnection| {
            let waiting = session.reader().fill_buf().map(|_| ());
            waiting.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
        };
        if self.broken || self.failed.is_some() || !nothing_read(&mut self.session) {
            return true;
        }
        if !prove && self.tcp.is_quiet() {
            return false;
        }
        for _ in 0..IDLE_READS_MAX {
            match self.session.read_tls(&mut Now(&self.tcp)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return !self.tcp.settle(),
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            }
            if self.session.process_new_packets().is_err() || !nothing_read(&mut self.session) {
                return true;
            }
        }
        true
    }

    /// Says goodbye as far as the socket takes it at once, and closes.
    pub(crate) fn close(mut self) {
        if !self.broken && !self.closing {
            self.session.send_close_notify();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let _ = self.poll_push(&mut cx);
        }
    }

    /// Writes what is ready to leave.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Bound(&mut self.tcp, cx)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Lets go what waits to leave; whether it could is the writers' business.
    fn push_on(&mut self, cx: &mut Context<'_>) {
        if !self.broken && self.session.wants_write() {
            self.broken = matches!(self.poll_push(cx), Poll::Ready(Err(_)));
        }
    }

    /// Reads from the socket; 0 is its end.
    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.session.read_tls(&mut Bound(&mut self.tcp, cx)) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    /// Reads from the socket and opens what is whole. After its end the reader tells whether it
    /// was announced.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = &self.failed {
            let error = io::Error::new(io::ErrorKind::InvalidData, error.clone());
            return Poll::Ready(Err(error));
        }
        self.push_on(cx);
        ready!(self.poll_fetch(cx))?;
        if let Err(e) = self.session.process_new_packets() {
            // Tells the peer why, if it can hear it.
            self.push_on(cx);
            self.failed = Some(e);
        }
        Poll::Ready(Ok(()))
    }
}

impl Link for Tls {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.session.reader().fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // An end or an error is told by the read that follows.
                _ => return Poll::Ready(Ok(())),
            }
            ready!(self.poll_pull(cx))?;
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.session.reader().read(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Without the peer's goodbye an end is an error: someone may have cut.
                result => return Poll::Ready(result),
            }
            ready!(self.poll_pull(cx))?;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Err(e) = ready!(self.poll_push(cx)) {
            self.broken = true;
            return Poll::Ready(Err(e));
        }
        let taken = self.session.writer().write_vectored(from);
        // Parts may have left even if this fails, so the bytes count as written; the next call
        // tells.
        self.push_on(cx);
        Poll::Ready(taken)
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closing, true) {
            self.session.send_close_notify();
        }
        ready!(self.poll_push(cx))?;
        self.tcp.poll_half_close(cx)
    }

    fn reset_on_close(&mut self) {
        self.tcp.reset_on_close();
    }
}

/// The socket as the session reads and writes it, with the task that waits for it.
struct Bound<'t, 'c, 'w>(&'t mut Tcp, &'c mut Context<'w>);

fn now_or_never<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Bound<'_, '_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        now_or_never(self.0.poll_read(self.1, into))
    }
}

impl Write for Bound<'_, '_, '_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(from)])
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        now_or_never(self.0.poll_write(self.1, from))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The socket as the kernel has it now; nobody waits.
struct Now<'t>(&'t Tcp);

impl Read for Now<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(into)
    }
}

#[cfg(test)]
mod tests;
