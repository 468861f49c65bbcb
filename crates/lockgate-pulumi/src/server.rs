//! The server that a program talks to: HTTP/2 on a loopback port, monitor and engine service
//! side by side.
//!
//! It sheds no load and caps no streams: SDKs take a refused request for a shutdown and end
//! quietly with resources missing (engine guide, section 2). Whatever request is cut, refused or
//! answered with an error is noted as lost, and a run with a loss deletes nothing.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::codegen::Service as _;
use tonic::{Code, Status};

use crate::generated::engine_server::EngineServer;
use crate::generated::resource_monitor_server::ResourceMonitorServer;
use crate::monitor::{EngineService, MonitorService, Run};
use crate::progress::Progress;

/// Largest message in either direction: what the SDKs themselves allow.
const MESSAGE_BYTES_MAX: usize = 400 * 1024 * 1024;
/// Flow control windows. Large enough that a big property needs few round trips.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Resets are counted as losses, not as an attack: the peer is our own child.
const RESETS_MAX: usize = 1 << 20;

const MONITOR_PATH: &str = "/pulumirpc.ResourceMonitor/";
const ENGINE_PATH: &str = "/pulumirpc.Engine/";
const SIGNAL_METHOD: &str = "SignalAndWaitForShutdown";
const INVOKE_METHOD: &str = "Invoke";

/// A running server. Dropping it closes every connection.
pub(crate) struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Listens on a free loopback port.
    pub(crate) async fn start(run: Arc<Run>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let services = Services::new(run);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, services));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Accepts until dropped; connections end with it.
async fn accept(listener: TcpListener, services: Services) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, services.clone()));
                }
                Err(error) => services.progress.lose(|| format!("cannot accept: {error}")),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, services: Services) {
    // Only latency is lost without it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| services.clone().answer(request));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(None)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .serve_connection(TokioIo::new(stream), service);
    // What was lost with a broken connection is noted by the requests on it.
    let _ = connection.await;
}

#[derive(Clone)]
struct Services {
    monitor: ResourceMonitorServer<MonitorService>,
    engine: EngineServer<EngineService>,
    progress: Arc<Progress>,
}

impl Services {
    fn new(run: Arc<Run>) -> Self {
        let progress = Arc::clone(&run.progress);
        Self {
            monitor: ResourceMonitorServer::new(MonitorService::new(Arc::clone(&run)))
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            engine: EngineServer::new(EngineService::new(run))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            progress,
        }
    }

    async fn answer(mut self, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let path = request.uri().path();
        let method = path.strip_prefix(MONITOR_PATH).map(str::to_owned);
        if let Some(method) = method {
            let call = Call::new(method, self.progress);
            let response = self.monitor.call(request).await?;
            return Ok(watched(response, Some(call)));
        }
        let response = if path.starts_with(ENGINE_PATH) {
            self.engine.call(request).await?
        } else {
            Status::unimplemented("there is no such service").into_http()
        };
        Ok(watched(response, None))
    }
}

fn watched(response: Response<tonic::body::Body>, mut call: Option<Call>) -> Response<Answer> {
    let (head, body) = response.into_parts();
    if let Some(call) = &mut call {
        call.read_status(&head.headers);
    }
    Response::from_parts(head, Answer { body, call })
}

/// A request to the monitor. Unless it is answered in full and well, it counts as lost.
struct Call {
    method: String,
    progress: Arc<Progress>,
    counts: bool,
    answered: bool,
}

impl Call {
    fn new(method: String, progress: Arc<Progress>) -> Self {
        // The signal waits for all others, so it must not wait for itself.
        let counts = method != SIGNAL_METHOD;
        if counts {
            progress.begin();
        }
        Self {
            method,
            progress,
            counts,
            answered: false,
        }
    }

    /// Takes the outcome from headers or trailers that have one.
    fn read_status(&mut self, headers: &HeaderMap) {
        if !headers.contains_key("grpc-status") {
            return;
        }
        self.answered = true;
        let status = Status::from_header_map(headers);
        let code = status.as_ref().map_or(Code::Unknown, Status::code);
        if code == Code::Unimplemented {
            self.progress.refuse(unsupported(&self.method));
        }
        // A function that refuses its arguments takes nothing away from the stack.
        let harmless = self.method == INVOKE_METHOD && code == Code::Unknown;
        if code != Code::Ok && !harmless {
            let why = status.as_ref().map_or("", Status::message);
            self.progress
                .lose(|| format!("`{}` was answered with an error: {why}", self.method));
        }
    }
}

/// What a program wants that sends a request which there is no answer to.
fn unsupported(method: &str) -> String {
    match method {
        "Call" => "methods of components of another language".to_owned(),
        "RegisterPackage" => "parameterized packages".to_owned(),
        "RegisterStackTransform" | "RegisterStackInvokeTransform" => "transforms".to_owned(),
        "RegisterResourceHook" => "resource hooks".to_owned(),
        "RegisterErrorHook" => "error hooks".to_owned(),
        other => format!("the request `{other}`"),
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.counts {
            return;
        }
        if !self.answered {
            self.progress
                .lose(|| format!("a call of `{}` was cut off", self.method));
        }
        self.progress.end();
    }
}

/// The body of an answer, which knows whether it was sent in full.
struct Answer {
    body: tonic::body::Body,
    call: Option<Call>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
            && let Some(call) = &mut self.call
        {
            call.read_status(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
