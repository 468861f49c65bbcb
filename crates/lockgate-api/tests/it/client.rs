//! Every operation through the typed client, and every way a call can fail.

use std::time::Duration;

use lockgate_api::{Client, ClientError, Shutdown, Target};
use lockgate_diag::Secret;
use lockgate_model::gateway::ConsumerSpec;
use lockgate_model::service::ServicePhase;
use lockgate_model::{ServiceId, Timestamp};
use lockgate_store::{LATENCY_BUCKETS, Rollup, Store as _};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use crate::world::{Node, route, service};

const WEB: &str = "shop/dev/web";

#[tokio::test]
async fn a_stack_is_brought_up_looked_at_and_taken_down() {
    let mut node = Node::start().await;
    let client = node.client.clone();
    let progress = Mutex::new(Vec::new());
    let spec = service(WEB, "ok");
    let status = client
        .apply_service(&spec, &|line| progress.lock().push(line))
        .await
        .unwrap();
    assert_eq!(
        (status.phase, status.generation),
        (ServicePhase::Healthy, 1)
    );
    assert_eq!(status.instances.len(), 2);
    assert_eq!(progress.lock()[0], "starting 2 instance(s)");
    assert_eq!(progress.lock().last().unwrap(), "switching traffic");
    assert_eq!(
        client.find_service(&spec.id).await.unwrap(),
        Some(status.clone())
    );
    assert_eq!(client.services().await.unwrap(), [status]);

    let consumer = ConsumerSpec {
        name: "shop/dev/me".into(),
    };
    client.apply_consumer(&consumer).await.unwrap();
    let found = client.find_consumer("shop/dev/me").await.unwrap();
    assert_eq!(found, Some(consumer));
    let wish = route("shop/dev/r", &spec.id.endpoint());
    let published = client.apply_route(&wish).await.unwrap();
    assert_eq!(published.spec, wish);
    assert_eq!(published.url, "http://web.example.org:8080/a");
    assert_eq!(
        client.find_route("shop/dev/r").await.unwrap(),
        Some(published)
    );
    let id = "0123456789abcdef";
    let key = Secret::new(format!("lgk_{id}_{}", "cd".repeat(32)));
    let kept = client
        .apply_api_key("shop/dev/me", &key, true)
        .await
        .unwrap();
    assert_eq!((kept.id.as_str(), kept.enabled), (id, true));
    assert_eq!(client.find_api_key(id).await.unwrap(), Some(kept));

    let status = client.status().await.unwrap();
    assert_eq!((status.pid, status.services, status.routes), (42, 1, 1));
    assert_eq!(status.spec_version, status.table_version);
    let gateway = client.gateway().await.unwrap();
    assert_eq!(gateway.upstreams[0].endpoints.len(), 2);
    assert_eq!(gateway.api_keys[0].id, id);
    assert_eq!(client.metrics().await.unwrap(), "lockgate_up 1\n");

    let audit = client.audit(None, 2).await.unwrap();
    let changes: Vec<_> = audit
        .iter()
        .map(|row| (row.action.as_str(), row.object.as_str()))
        .collect();
    assert_eq!(
        changes,
        [
            ("put", "API key 0123456789abcdef"),
            ("put", "route shop/dev/r")
        ]
    );
    assert!(audit[0].actor.starts_with("uid:") && audit[0].request_id.len() == 16);
    let older = client.audit(Some(audit[1].seq), 1).await.unwrap();
    assert_eq!(older[0].object, "consumer shop/dev/me");

    client.remove_api_key(id).await.unwrap();
    client.remove_route("shop/dev/r").await.unwrap();
    client.remove_consumer("shop/dev/me").await.unwrap();
    client.remove_service(&spec.id).await.unwrap();
    client.remove_service(&spec.id).await.unwrap();
    assert_eq!(client.find_service(&spec.id).await.unwrap(), None);
    assert_eq!(client.find_api_key(id).await.unwrap(), None);
    let shutdown = Shutdown {
        drain: Duration::from_millis(1500),
        keep_services: true,
    };
    client.shutdown(shutdown).await.unwrap();
    assert_eq!(node.shutdowns.recv().await, Some(shutdown));
}

#[tokio::test]
async fn a_failed_rollout_reaches_the_client_with_its_causes() {
    let node = Node::start().await;
    let error = node
        .client
        .apply_service(&service(WEB, "crash"), &|_| {})
        .await;
    let Err(ClientError::Refused(problem)) = error else {
        panic!("{error:?}");
    };
    assert_eq!((problem.code.as_str(), problem.status), ("LG0709", 424));
    assert_eq!(problem.causes[0], "no such program");
    assert_eq!(problem.request_id.len(), 16);
}

#[tokio::test]
async fn names_with_any_character_travel_whole() {
    let node = Node::start().await;
    for name in ["a/b", "über%2F x", "..", "q?x#y+z&"] {
        let spec = service(&format!("shop/dev/{name}"), "ok");
        let status = node.client.apply_service(&spec, &|_| {}).await.unwrap();
        assert_eq!(status.id, spec.id);
        let found = node.client.find_service(&spec.id).await.unwrap();
        assert_eq!(found.unwrap().id.name, name);
    }
    assert_eq!(node.client.services().await.unwrap().len(), 4);
}

#[tokio::test]
async fn output_is_read_once_or_followed() {
    let node = Node::start().await;
    let mut spec = service(WEB, "ok");
    spec.replicas = 1;
    node.client.apply_service(&spec, &|_| {}).await.unwrap();
    let mut lines = Vec::new();
    let mut take = |line: lockgate_api::wire::LogLine| {
        lines.push(line.text);
        lines.len() < 4
    };
    node.client
        .logs(&spec.id, 10, false, &mut take)
        .await
        .unwrap();
    node.client
        .logs(&spec.id, 10, true, &mut take)
        .await
        .unwrap();
    assert_eq!(lines, ["line 1", "line 1", "line 2", "line 3"]);
    let absent = ServiceId::parse("shop/dev/none").unwrap();
    let error = node.client.logs(&absent, 1, false, &mut |_| true).await;
    let Err(ClientError::Refused(problem)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(problem.code, "LG0715");
}

#[tokio::test]
async fn a_node_that_is_not_there_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let error = Client::connect(Target::Unix(socket)).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn traffic_is_told_per_minute() {
    let node = Node::start().await;
    let minute = Timestamp::from_secs(1_800_000_000).as_secs() / 60;
    let mut latency = [0; LATENCY_BUCKETS];
    latency[2] = 3;
    let rollup = |minute| Rollup {
        route: "shop/dev/r".into(),
        minute,
        requests: 3,
        errors: 1,
        latency,
    };
    let rollups = [rollup(minute), rollup(minute - 6)];
    node.store.add_rollups(&rollups).await.unwrap();
    let traffic = node.client.traffic("shop/dev/r", 5).await.unwrap();
    assert_eq!(
        traffic.minutes.len(),
        1,
        "a minute before the window is shown"
    );
    let minute = &traffic.minutes[0];
    assert_eq!(minute.at, "2027-01-15T08:00:00Z");
    assert_eq!((minute.requests, minute.errors), (3, 1));
    assert_eq!(minute.latency, latency);
    assert_eq!(traffic.bounds_ms.len() + 1, latency.len());
}

/// An answer that ends early must never look like a whole one.
#[tokio::test]
async fn a_cut_answer_is_lost_and_a_foreign_one_is_a_protocol_error() {
    let progress = r#"{"event":"progress","message":"starting"}"#;
    for (answer, lost) in [
        // The connection ends in the middle of the announced body.
        (
            format!("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{progress}\n"),
            true,
        ),
        // The body is whole, but has no result.
        (
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{progress}\n"),
            true,
        ),
        (String::new(), true),
        (
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<html>\n".to_owned(),
            false,
        ),
        (
            "HTTP/1.1 502 Bad\r\nconnection: close\r\n\r\nproxy".to_owned(),
            false,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("fake.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let text = answer.clone();
        let peer = tokio::spawn(async move {
            // One connection for `status`, one for the call under test.
            for answer in [status_answer(), text] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 65_536];
                let read = stream.read(&mut request).await.unwrap();
                assert!(read > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let (client, _) = Client::connect(Target::Unix(socket)).await.unwrap();
        let error = client.apply_service(&service(WEB, "ok"), &|_| {}).await;
        match (error, lost) {
            (Err(ClientError::Lost(_)), true) | (Err(ClientError::Protocol(_)), false) => {}
            (other, _) => panic!("{answer:?} became {other:?}"),
        }
        peer.await.unwrap();
    }
}

fn status_answer() -> String {
    let body = r#"{"version":"0","pid":1,"started":"","addresses":[],"gatewayUrl":"",
        "specVersion":0,"tableVersion":0,"tableRefusal":[],"services":0,"routes":0}"#;
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
