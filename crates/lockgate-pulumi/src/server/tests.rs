//! The server over a real connection: what counts as lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lockgate_diag::{Secret, Severity};
use lockgate_engine::Monitor;
use lockgate_engine::source::{
    Invocation, InvokeOutcome, MonitorError, ReadResource, Registered, Registration,
};
use lockgate_model::{PropertyMap, Urn};
use prost::Message;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::assets::Folders;
use crate::generated::{LogRequest, RegisterResourceRequest, ResourceInvokeRequest};
use crate::monitor::Deployment;
use crate::place::SourceFiles;

/// An engine that answers by the name of the resource.
struct Scripted;

#[async_trait]
impl Monitor for Scripted {
    async fn register(&self, registration: Registration) -> Result<Registered, MonitorError> {
        match registration.name.as_str() {
            "never" => std::future::pending().await,
            "bad" => Err(MonitorError::Failed("it broke".to_owned())),
            _ => Ok(Registered::default()),
        }
    }

    async fn register_outputs(&self, _: Urn, _: PropertyMap) -> Result<(), MonitorError> {
        Ok(())
    }

    async fn read(&self, _: ReadResource) -> Result<Registered, MonitorError> {
        Ok(Registered::default())
    }

    async fn invoke(&self, _: Invocation) -> Result<InvokeOutcome, MonitorError> {
        Err(MonitorError::Failed("refused".to_owned()))
    }

    fn log(&self, _: Severity, _: Option<Urn>, _: String) {}

    fn is_preview(&self) -> bool {
        false
    }

    fn stack_urn(&self) -> Urn {
        Urn::new("dev", "x", None, lockgate_model::urn::STACK_TYPE, "x-dev")
    }
}

struct World {
    progress: Arc<Progress>,
    sender: http2::SendRequest<Full<Bytes>>,
    address: SocketAddr,
    _server: Server,
}

async fn world() -> World {
    let progress = Arc::new(Progress::default());
    let run = Arc::new(Run {
        monitor: Arc::new(Scripted),
        deployment: Arc::new(Deployment {
            project: "x".to_owned(),
            stack: "dev".to_owned(),
            organization: "organization".to_owned(),
            config: Secret::new(BTreeMap::new()),
            secret_keys: Vec::new(),
            parallel: 4,
            continue_on_error: false,
        }),
        folders: Arc::new(Folders {
            root: "/".into(),
            program: "/".into(),
        }),
        sources: SourceFiles::new("/".as_ref()),
        progress: Arc::clone(&progress),
        released: CancellationToken::new(),
    });
    let server = Server::start(run).await.expect("a loopback port");
    let stream = TcpStream::connect(server.address())
        .await
        .expect("a server");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    World {
        progress,
        sender,
        address: server.address(),
        _server: server,
    }
}

impl World {
    fn request(&self, method: &str, body: Bytes) -> Request<Full<Bytes>> {
        Request::post(format!("http://{}/pulumirpc.{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(body))
            .expect("a valid request")
    }

    /// Sends a message and reads the whole answer; its gRPC status.
    async fn call(&self, method: &str, message: &impl Message) -> String {
        self.send(method, frame(message)).await
    }

    async fn send(&self, method: &str, body: Bytes) -> String {
        let request = self.request(method, body);
        let response = self.sender.clone().send_request(request).await;
        let response: Response<Incoming> = response.expect("an answer");
        let headers = response.headers().clone();
        let body = response.into_body().collect().await.expect("a whole body");
        let trailers = body.trailers().cloned().unwrap_or(headers);
        trailers["grpc-status"]
            .to_str()
            .expect("a number")
            .to_owned()
    }
}

fn frame(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).expect("a small message");
    [&[0][..], &length.to_be_bytes(), &bytes].concat().into()
}

fn resource(name: &str) -> RegisterResourceRequest {
    RegisterResourceRequest {
        r#type: "a:b:C".to_owned(),
        name: name.to_owned(),
        ..RegisterResourceRequest::default()
    }
}

const REGISTER: &str = "ResourceMonitor/RegisterResource";

#[tokio::test]
async fn answers_in_full_lose_nothing() {
    let world = world().await;
    assert_eq!(world.call(REGISTER, &resource("good")).await, "0");
    let refused = ResourceInvokeRequest::default();
    // The program may live without the answer of a function.
    assert_eq!(world.call("ResourceMonitor/Invoke", &refused).await, "2");
    assert_eq!(world.call("Engine/Log", &LogRequest::default()).await, "0");
    world.progress.idle().await;
    assert_eq!(world.progress.lost(), None);
}

#[tokio::test]
async fn whatever_is_not_answered_well_is_lost() {
    let garbage = Bytes::from_static(&[0, 0, 0, 0, 2, 0xff, 0xff]);
    let too_large = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]);
    let cut = frame(&resource("good")).slice(..7);
    for (method, body) in [
        (REGISTER, garbage),
        (REGISTER, too_large),
        (REGISTER, cut),
        ("ResourceMonitor/RegisterPackage", frame(&resource("any"))),
    ] {
        let world = world().await;
        assert_ne!(world.send(method, body).await, "0");
        world.progress.idle().await;
        let lost = world.progress.lost();
        assert!(lost.is_some(), "{method} was not lost");
    }
}

#[tokio::test]
async fn a_request_that_its_sender_drops_is_lost() {
    let world = world().await;
    let request = world.request(REGISTER, frame(&resource("never")));
    let mut sender = world.sender.clone();
    // The second answer shows that the server works on the first request.
    let first = sender.send_request(request);
    assert_eq!(world.call(REGISTER, &resource("good")).await, "0");
    drop(first);
    world.progress.idle().await;
    let lost = world.progress.lost().expect("the reset was seen");
    assert!(lost.contains("cut off"), "{lost}");
}

#[tokio::test]
async fn a_connection_that_breaks_loses_what_was_on_it() {
    let world = world().await;
    let request = world.request(REGISTER, frame(&resource("never")));
    let mut sender = world.sender.clone();
    let first = sender.send_request(request);
    assert_eq!(world.call(REGISTER, &resource("good")).await, "0");
    drop((first, sender, world.sender));
    world.progress.idle().await;
    assert!(world.progress.lost().is_some());
}

#[tokio::test]
async fn a_failed_resource_ends_the_run_with_the_one_answer_that_means_stop() {
    let world = world().await;
    // 14 is UNAVAILABLE.
    assert_eq!(world.call(REGISTER, &resource("bad")).await, "14");
    assert!(world.progress.is_stopped() && world.progress.is_told());
}

#[tokio::test]
async fn nothing_is_registered_after_the_signal() {
    let world = world().await;
    assert!(world.progress.signal());
    // 9 is FAILED_PRECONDITION.
    assert_eq!(world.call(REGISTER, &resource("late")).await, "9");
    world.progress.idle().await;
    assert!(world.progress.lost().is_some());
    assert_eq!(
        world
            .call("ResourceMonitor/SignalAndWaitForShutdown", &())
            .await,
        "9"
    );
}
