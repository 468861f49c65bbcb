//! Listening: the Unix socket of the user's own processes, and TCP with a bearer key.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lockgate_diag::Secret;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::router::Api;

/// Most connections at once; more wait in the kernel's queue. Log followers hold theirs.
const CONNECTIONS_MAX: usize = 256;
/// Time a client has to send a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time open answers have to end when the server stops; followers of logs never end themselves.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Wait after a failed accept, which is nearly always a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the API listens, and what it asks of who connects.
pub enum Listener {
    /// Callers are root or the user the node runs as.
    Unix(UnixListener),
    /// Callers present the key as `Authorization: Bearer <key>`.
    Tcp {
        /// The socket.
        listener: TcpListener,
        /// The key.
        key: Secret<String>,
    },
    /// Callers may use the console with a link or a session of it, and nothing else.
    Console(TcpListener),
}

/// Binds the API's socket with mode 0600. A socket nobody listens on any more is replaced.
pub async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        let text = format!("a node already listens on {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    match fs_err::tokio::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Between bind and chmod the peer check guards the socket alone.
    let listener = UnixListener::bind(path)?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(crate) enum Peer {
    /// A process of this user.
    User(u32),
    /// Someone who must present the key with this hash.
    Bearer(Arc<[u8; 32]>),
    /// A browser on the console's own port.
    Browser,
}

impl Peer {
    /// The actor's name for the audit chain; `None` when the peer may not use the API.
    pub(crate) fn admit(&self, authorization: Option<&[u8]>) -> Option<String> {
        match self {
            Self::User(uid) => {
                let own = rustix::process::geteuid().as_raw();
                (*uid == 0 || *uid == own).then(|| format!("uid:{uid}"))
            }
            Self::Bearer(hash) => {
                let presented = authorization?.strip_prefix(b"Bearer ")?;
                // Hashes have one length, so the comparison tells nothing about the key's.
                let presented: [u8; 32] = Sha256::digest(presented).into();
                let same: bool = presented.ct_eq(hash.as_ref()).into();
                same.then(|| "key".to_owned())
            }
            Self::Browser => None,
        }
    }

    /// Whether the node's bearer key admits this peer.
    pub(crate) fn takes_key(&self) -> bool {
        matches!(self, Self::Bearer(_))
    }
}

/// Serves until `stop`, then gives open answers a moment to end.
pub async fn serve(listener: Listener, api: Api, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let open = TaskTracker::new();
    let key = match &listener {
        Listener::Unix(_) | Listener::Console(_) => None,
        Listener::Tcp { key, .. } => {
            let hash: [u8; 32] = Sha256::digest(key.expose().as_bytes()).into();
            Some(Arc::new(hash))
        }
    };
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, key.as_ref()) => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the API could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (api, stop) = (api.clone(), stop.clone());
        open.spawn(async move {
            serve_connection(stream, peer, &api, &stop).await;
            drop(permit);
        });
    }
    open.close();
    open.wait().await;
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept(
    listener: &Listener,
    key: Option<&Arc<[u8; 32]>>,
) -> io::Result<(Box<dyn Stream>, Peer)> {
    match (listener, key) {
        (Listener::Tcp { listener, .. }, Some(key)) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream), Peer::Bearer(Arc::clone(key))))
        }
        (Listener::Unix(listener), _) => {
            let (stream, _) = listener.accept().await?;
            let uid = stream.peer_cred()?.uid();
            Ok((Box::new(stream), Peer::User(uid)))
        }
        (Listener::Console(listener), _) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream), Peer::Browser))
        }
        (Listener::Tcp { .. }, None) => Err(io::Error::other("the listener has no key")),
    }
}

async fn serve_connection(
    stream: Box<dyn Stream>,
    peer: Peer,
    api: &Api,
    stop: &CancellationToken,
) {
    let router = api.router();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let mut router = router.clone();
        async move {
            let response = router.call(request).await;
            response.map_err(|never: Infallible| never)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a client ends its connection is its own affair; failures of requests are logged above.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection).await;
}
