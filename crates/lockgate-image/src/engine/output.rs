//! What the steps of a build print: BuildKit's status stream, on a connection of its own beside
//! the one that builds.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::moby::buildkit::v1::control_client::ControlClient;
use bollard::moby::buildkit::v1::{StatusRequest, StatusResponse};
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::UnixStream;

use super::Cause;

/// Lines of a failing step that its error repeats.
const LINES_MAX: usize = 50;
/// Longest line that is kept; the rest of it is dropped.
const LINE_BYTES_MAX: usize = 2000;
/// Steps whose lines are kept.
const STEPS_MAX: usize = 1000;

/// The last lines of each step.
#[derive(Default)]
pub(super) struct Output {
    steps: BTreeMap<String, VecDeque<String>>,
    /// The step that failed.
    failed: Option<String>,
}

impl Output {
    /// The last lines of the step that failed; empty when it printed nothing.
    pub(super) fn of_failed(&self) -> Vec<String> {
        let lines = self.failed.as_ref().and_then(|step| self.steps.get(step));
        lines.into_iter().flatten().cloned().collect()
    }

    fn take(&mut self, status: StatusResponse) {
        let failed = status.vertexes.into_iter().find(|v| !v.error.is_empty());
        if let Some(vertex) = failed {
            self.failed.get_or_insert(vertex.digest);
        }
        for log in status.logs {
            if self.steps.len() >= STEPS_MAX && !self.steps.contains_key(&log.vertex) {
                continue;
            }
            let lines = self.steps.entry(log.vertex).or_default();
            for line in String::from_utf8_lossy(&log.msg).lines() {
                let end = line.floor_char_boundary(LINE_BYTES_MAX);
                lines.push_back(line[..end].to_owned());
            }
            let over = lines.len().saturating_sub(LINES_MAX);
            lines.drain(..over);
        }
    }
}

/// Follows the build `reference` until it ends. What cannot be followed is missing in an error
/// and changes nothing else.
pub(super) async fn follow(socket: &Path, reference: String, output: &Mutex<Output>) {
    let Ok(connection) = connect(socket).await else {
        return;
    };
    let origin = Uri::from_static("http://engine");
    let mut client = ControlClient::with_origin(connection, origin);
    let request = StatusRequest { r#ref: reference };
    let Ok(stream) = client.status(request).await else {
        return;
    };
    let mut stream = stream.into_inner();
    while let Ok(Some(status)) = stream.message().await {
        output.lock().take(status);
    }
}

/// HTTP/1.1, then up to HTTP/2 on the same socket, as the engine wants it.
async fn connect<B>(socket: &Path) -> Result<Connection<B>, Cause>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Cause>,
{
    let stream = UnixStream::connect(socket).await?;
    let (mut first, driver) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection, which ends with the build.
    tokio::spawn(driver.with_upgrades());
    let request = Request::builder()
        .method(Method::POST)
        .uri("/grpc")
        .header(HOST, "engine")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "h2c")
        .body(Empty::<bytes::Bytes>::new())?;
    let response = first.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("the engine answered {}", response.status()).into());
    }
    let upgraded = hyper::upgrade::on(response).await?;
    let (send, driver) = http2::handshake(TokioExecutor::new(), upgraded).await?;
    tokio::spawn(driver);
    Ok(Connection(send))
}

/// An HTTP/2 connection as the service that generated clients want.
struct Connection<B>(http2::SendRequest<B>);

impl<B: Body + Send + 'static> tower::Service<Request<B>> for Connection<B> {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
