//! One HTTP exchange of the client: connect, send, read under limits.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use super::{Client, ClientError, NO_BODY, Target};
use crate::wire::Problem;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two pieces of an answer. Long answers carry an empty line every 10 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest whole answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest line of a streamed answer.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A streamed answer, line by line. Dropping it closes the connection.
pub(super) struct Lines {
    body: Incoming,
    held: BytesMut,
    _connection: AbortOnDropHandle<()>,
}

impl Client {
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        parse(&self.send(Method::GET, path, NO_BODY).await?)
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        parse(&self.send(Method::POST, path, NO_BODY).await?)
    }

    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        parse(&self.send(Method::PUT, path, Some(body)).await?)
    }

    /// Like `get`, with absence as `None`.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, ClientError> {
        match self.get(path).await {
            Err(ClientError::Refused(problem)) if problem.status == 404 => Ok(None),
            answer => answer.map(Some),
        }
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), ClientError> {
        self.send(Method::DELETE, path, NO_BODY).await?;
        Ok(())
    }

    /// One exchange with its whole answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Bytes, ClientError> {
        let mut lines = self.open(method, path, body).await?;
        while lines.fill().await? {
            if lines.held.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::Protocol("the answer is too large".into()));
            }
        }
        Ok(lines.held.freeze())
    }

    /// One exchange; a failure status is read to its end and becomes `Refused`.
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Lines, ClientError> {
        let request = self.request(method, path, body)?;
        let (response, connection) = self.exchange(request).await?;
        let status = response.status();
        let mut lines = Lines {
            body: response.into_body(),
            held: BytesMut::new(),
            _connection: connection,
        };
        if status.is_success() {
            return Ok(lines);
        }
        while lines.fill().await? {
            if lines.held.len() > LINE_BYTES_MAX {
                return Err(ClientError::Protocol("the answer is too large".into()));
            }
        }
        Err(refusal(status, &lines.held))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder().method(method).uri(path);
        request = match &self.target {
            Target::Unix(_) => request.header(header::HOST, "localhost"),
            Target::Tcp { address, key } => {
                let bearer = format!("Bearer {}", key.expose());
                request
                    .header(header::HOST, address)
                    .header(header::AUTHORIZATION, bearer)
            }
        };
        let bytes = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                serde_json::to_vec(body).map_err(|e| ClientError::Protocol(e.to_string()))?
            }
            None => Vec::new(),
        };
        request
            .body(Full::new(bytes.into()))
            .map_err(|e| ClientError::Protocol(e.to_string()))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            target: self.target.to_string(),
            source,
        };
        let connecting = async {
            match &self.target {
                Target::Unix(path) => start(UnixStream::connect(path).await?).await,
                Target::Tcp { address, .. } => start(TcpStream::connect(address).await?).await,
            }
        };
        let (mut sender, connection) = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        let answer = tokio::time::timeout(IDLE_TIMEOUT, sender.send_request(request));
        match answer.await {
            Ok(Ok(response)) => Ok((response, connection)),
            Ok(Err(error)) => Err(ClientError::Lost(error.to_string())),
            Err(_) => Err(ClientError::Lost("no answer in time".into())),
        }
    }
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

/// Starts HTTP on a connected socket; the task that drives it ends with its handle.
async fn start<S>(stream: S) -> io::Result<(Sender, AbortOnDropHandle<()>)>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(io::Error::other)?;
    // Its error reaches the caller through the request or the body.
    let drive = tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok((sender, AbortOnDropHandle::new(drive)))
}

impl Lines {
    /// Reads one more piece; false at the end of the answer.
    async fn fill(&mut self) -> Result<bool, ClientError> {
        match tokio::time::timeout(IDLE_TIMEOUT, self.body.frame()).await {
            Ok(None) => Ok(false),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    self.held.extend_from_slice(&data);
                }
                Ok(true)
            }
            Ok(Some(Err(error))) => Err(ClientError::Lost(error.to_string())),
            Err(_) => Err(ClientError::Lost("the node fell silent".into())),
        }
    }

    /// The next line that is not empty; `None` at the end.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            while let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line = self.held.split_to(end);
                self.held.advance(1);
                if !line.is_empty() {
                    return parse(&line).map(Some);
                }
            }
            if self.held.len() > LINE_BYTES_MAX {
                return Err(ClientError::Protocol("a line is too long".into()));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(bytes).map_err(|error| ClientError::Protocol(error.to_string()))
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => ClientError::Refused(Box::new(problem)),
        Err(_) => ClientError::Protocol(format!("status {status} without a problem document")),
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { address, .. } => f.write_str(address),
        }
    }
}
