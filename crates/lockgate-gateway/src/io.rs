//! The I/O seam: the few operations that the connection loop needs, and their timer.
//!
//! Protocol code is written against [`Link`] and never names a socket type. Clients come over
//! [`Tcp`]; upstreams are [`Wire`]s: TCP, or TLS on it.

mod tls;

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

pub(crate) use tls::{HandshakeError, Tls};

/// One side of a connection.
pub(crate) trait Link {
    /// Ready when bytes or the end are there; holds no buffer meanwhile.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Reads into `into`; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes what fits of `from`.
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[IoSlice<'_>])
    -> Poll<io::Result<usize>>;
    /// Says that no more bytes follow.
    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Makes the coming close a reset, which no peer can take for a clean end.
    fn reset_on_close(&mut self);
}

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Tcp(TcpStream);

impl Tcp {
    /// Takes a connected socket. Small writes leave at once: heads and small bodies are written
    /// whole, so waiting for more only adds latency.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Whether bytes, the end or an error wait although none should. Free of system calls while
    /// the connection is quiet; with `prove` the kernel is asked even so, because the runtime may
    /// not have heard yet.
    fn is_stale(&self, prove: bool) -> bool {
        if !prove && self.is_quiet() {
            return false;
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.0, &mut [0_u8; 1], flags) {
            Err(Errno::AGAIN) => !self.settle(),
            _ => true,
        }
    }

    /// The runtime has heard of nothing to read.
    fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.0.poll_read_ready(&mut cx).is_pending()
    }

    /// Clears the readiness that was true once, so that the next wait is a real one; false when
    /// there is something to read after all.
    fn settle(&self) -> bool {
        let read = self.0.try_read(&mut [0_u8; 1]);
        read.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads what the kernel has, without a wait.
    fn read_now(&self, into: &mut [u8]) -> io::Result<usize> {
        let read = rustix::net::recv(&self.0, into, RecvFlags::DONTWAIT);
        Ok(read.map(|(_, n)| n)?)
    }
}

impl Link for Tcp {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut self.0).poll_read(cx, &mut into) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(into.filled().len())),
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match from {
            [one] => Pin::new(&mut self.0).poll_write(cx, one),
            many => Pin::new(&mut self.0).poll_write_vectored(cx, many),
        }
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn reset_on_close(&mut self) {
        // Only makes the cut plainer; without it the peer still sees an incomplete message or
        // a close.
        let _ = self.0.set_zero_linger();
    }
}

/// A connection to an upstream. One branch instead of a virtual call keeps plain TCP as it was.
#[derive(Debug)]
pub(crate) enum Wire {
    Tcp(Tcp),
    Tls(Box<Tls>),
}

impl Wire {
    /// Whether bytes, the end or an error wait although none should.
    pub(crate) fn is_stale(&mut self, prove: bool) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_stale(prove),
            Self::Tls(tls) => tls.is_stale(prove),
        }
    }

    /// Ends a connection on which nothing is under way.
    pub(crate) fn close(self) {
        match self {
            Self::Tcp(_) => {}
            Self::Tls(tls) => tls.close(),
        }
    }
}

impl Link for Wire {
    #[inline]
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_readable(cx),
            Self::Tls(tls) => tls.poll_readable(cx),
        }
    }

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read(cx, into),
            Self::Tls(tls) => tls.poll_read(cx, into),
        }
    }

    #[inline]
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_write(cx, from),
            Self::Tls(tls) => tls.poll_write(cx, from),
        }
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_half_close(cx),
            Self::Tls(tls) => tls.poll_half_close(cx),
        }
    }

    fn reset_on_close(&mut self) {
        match self {
            Self::Tcp(tcp) => tcp.reset_on_close(),
            Self::Tls(tls) => tls.reset_on_close(),
        }
    }
}

/// The one timer of a connection, re-armed lazily: moving the deadline away costs nothing, the
/// old alarm finds out when it fires.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Timer {
    pub(crate) fn new(after: Duration) -> Self {
        let deadline = Instant::now() + after;
        Self {
            sleep: Box::pin(sleep_until(deadline)),
            deadline,
        }
    }

    /// Sets the deadline of what follows.
    pub(crate) fn set(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
    }

    /// Sets the deadline to `after` from now, or to `limit` when that is earlier.
    pub(crate) fn set_within(&mut self, after: Duration, limit: Option<Instant>) {
        let deadline = Instant::now() + after;
        self.set(limit.map_or(deadline, |limit| limit.min(deadline)));
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.sleep.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if Instant::now() >= self.deadline => return Poll::Ready(()),
                Poll::Ready(()) => self.sleep.as_mut().reset(self.deadline),
            }
        }
    }
}

/// Why an operation did not finish.
#[derive(Debug)]
pub(crate) enum Stop {
    Timeout,
    Io(io::Error),
}

/// Waits for `op` until the timer's deadline.
pub(crate) async fn within<T>(
    timer: &mut Timer,
    mut op: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> Result<T, Stop> {
    poll_fn(|cx| match op(cx) {
        Poll::Ready(Ok(value)) => Poll::Ready(Ok(value)),
        Poll::Ready(Err(e)) => Poll::Ready(Err(Stop::Io(e))),
        Poll::Pending => timer.poll(cx).map(|()| Err(Stop::Timeout)),
    })
    .await
}

/// Writes `first`, then `second`, together where the peer takes them together.
pub(crate) async fn write_both<L: Link>(
    link: &mut L,
    timer: &mut Timer,
    first: &[u8],
    second: &[u8],
) -> Result<(), Stop> {
    let mut written = 0;
    poll_fn(|cx| poll_write_both(link, timer, [first, second], &mut written, cx)).await
}

/// What [`write_both`] does, for who does more in one wait; `written` counts the bytes of both.
pub(crate) fn poll_write_both<L: Link>(
    link: &mut L,
    timer: &mut Timer,
    [first, second]: [&[u8]; 2],
    written: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Stop>> {
    loop {
        let of_first = first.get(*written..).unwrap_or_default();
        let of_second = second.get(written.saturating_sub(first.len())..);
        let of_second = of_second.unwrap_or_default();
        let wrote = match (of_first.is_empty(), of_second.is_empty()) {
            (true, true) => return Poll::Ready(Ok(())),
            (false, true) => link.poll_write(cx, &[IoSlice::new(of_first)]),
            (true, false) => link.poll_write(cx, &[IoSlice::new(of_second)]),
            (false, false) => {
                link.poll_write(cx, &[IoSlice::new(of_first), IoSlice::new(of_second)])
            }
        };
        match wrote {
            Poll::Ready(Ok(0)) => {
                return Poll::Ready(Err(Stop::Io(io::ErrorKind::WriteZero.into())));
            }
            Poll::Ready(Ok(n)) => *written += n,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(Stop::Io(e))),
            Poll::Pending => return timer.poll(cx).map(|()| Err(Stop::Timeout)),
        }
    }
}
