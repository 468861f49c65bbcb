//! Upstreams that follow a script behind TLS.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use crate::support::{Peer, Scripted, find};

/// One TLS connection of a scripted upstream.
pub(super) struct TlsPeer<'p> {
    pub(super) session: ServerConnection,
    pub(super) peer: &'p mut Peer,
    plain: Vec<u8>,
}

/// Runs `script` on every connection, once its handshake is made. Requests are noted as by
/// [`Peer::request`]; the end of a connection as `closed`, or `cut` without a goodbye.
pub(super) fn scripted(
    config: Arc<ServerConfig>,
    script: impl Fn(&mut TlsPeer<'_>) + Send + Sync + 'static,
) -> Scripted {
    Scripted::start(move |peer| {
        // What is noted as said must have left.
        peer.stream.set_nodelay(true).expect("no delay");
        let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
        let mut tls = TlsPeer {
            session,
            peer,
            plain: Vec::new(),
        };
        while tls.session.is_handshaking() {
            if tls.session.complete_io(&mut tls.peer.stream).is_err() {
                return;
            }
        }
        script(&mut tls);
    })
}

impl TlsPeer<'_> {
    /// Head and body of the next request; `None` at the end.
    pub(super) fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let head = self.until(|b| find(b, b"\r\n\r\n").map(|at| at + 4))?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        let body = self.until(|b| (b.len() >= length).then_some(length))?;
        self.peer.note(&head);
        Some((head, body))
    }

    fn until(&mut self, done: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(n) = done(&self.plain) {
                return Some(self.plain.drain(..n).collect());
            }
            if !self.read_more() {
                return None;
            }
        }
    }

    /// Reads once; false at the end, which is noted.
    fn read_more(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.session.reader().read(&mut chunk) {
                Ok(n) if n > 0 => {
                    self.plain.extend_from_slice(&chunk[..n]);
                    return true;
                }
                Ok(_) => {
                    self.peer.note("closed");
                    return false;
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.peer.note("cut");
                    return false;
                }
            }
            let read = self.session.read_tls(&mut self.peer.stream);
            if read.is_err() || self.session.process_new_packets().is_err() {
                self.peer.note("cut");
                return false;
            }
            self.flush();
        }
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(n) = self.session.writer().write(rest) else {
                return;
            };
            rest = &rest[n..];
            if !self.flush() {
                return;
            }
        }
    }

    /// Sends what waits; false when nobody takes it.
    pub(super) fn flush(&mut self) -> bool {
        while self.session.wants_write() {
            if self.session.write_tls(&mut self.peer.stream).is_err() {
                return false;
            }
        }
        true
    }

    /// Says goodbye; the connection stays open.
    pub(super) fn goodbye(&mut self) {
        self.session.send_close_notify();
        self.flush();
    }
}
