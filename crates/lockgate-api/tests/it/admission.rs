//! Who gets in, and what those who send nonsense are told.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lockgate_api::{Client, ClientError, Target, bind_unix};
use lockgate_diag::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::world::{CANARY, Node, route, service};

/// One request as text; the whole answer as text.
async fn raw(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn request(head: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn nonsense_is_told_as_a_problem_and_never_repeated() {
    let node = Node::start().await;
    let service = "PUT /v1/services/shop/dev/web";
    let canary = format!(r#"{{"image":"{CANARY}","unknown":1}}"#);
    let large = " ".repeat(1024 * 1024 + 1);
    for (head, body, status, code) in [
        ("GET /nope", "", 404, "LG0715"),
        ("POST /v1/status", "", 405, "LG0714"),
        (service, canary.as_str(), 400, "LG0714"),
        (service, "{", 400, "LG0714"),
        (service, large.as_str(), 413, "LG0714"),
        ("GET /v1/services/shop%2Fx/dev/web", "", 400, "LG0714"),
        ("GET /v1/services/shop/dev/web", "", 404, "LG0715"),
        (
            "GET /v1/services/shop/dev/web/logs?lines=x",
            "",
            400,
            "LG0714",
        ),
        (
            "PUT /v1/api-keys/0123456789abcdef",
            r#"{"consumer":"a/b/c","key":"x","enabled":true}"#,
            422,
            "LG0707",
        ),
    ] {
        let answer = raw(&node.socket, &request(head, body)).await;
        let start = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&start), "{head}: {answer}");
        assert!(
            answer.contains("content-type: application/problem+json"),
            "{answer}"
        );
        let (head_text, problem) = answer.split_once("\r\n\r\n").unwrap();
        let problem: serde_json::Value = serde_json::from_str(problem).unwrap();
        assert_eq!(problem["code"], code, "{head}: {problem}");
        assert_eq!(problem["status"], status);
        let id = problem["request_id"].as_str().unwrap();
        assert!(head_text.contains(&format!("x-request-id: {id}")));
        assert!(!answer.contains(CANARY), "{answer}");
    }
}

#[tokio::test]
async fn no_response_holds_a_secret_or_a_hash() {
    let node = Node::start().await;
    let spec = service("shop/dev/web", "ok");
    node.client.apply_service(&spec, &|_| {}).await.unwrap();
    let consumer = lockgate_model::gateway::ConsumerSpec {
        name: "shop/dev/me".into(),
    };
    node.client.apply_consumer(&consumer).await.unwrap();
    let key = Secret::new(format!("lgk_{}_{}", "a".repeat(16), "cd".repeat(32)));
    node.client
        .apply_api_key("shop/dev/me", &key, true)
        .await
        .unwrap();
    let wish = route("shop/dev/r", &spec.id.endpoint());
    node.client.apply_route(&wish).await.unwrap();
    for path in [
        "/v1/status",
        "/v1/gateway",
        "/v1/services",
        "/v1/services/shop/dev/web",
        "/v1/routes/shop/dev/r",
        "/v1/api-keys/aaaaaaaaaaaaaaaa",
    ] {
        let answer = raw(&node.socket, &request(&format!("GET {path}"), "")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        for secret in [CANARY, "cdcdcd", "hash"] {
            assert!(!answer.contains(secret), "{path} tells {secret}: {answer}");
        }
    }
}

#[tokio::test]
async fn tcp_needs_the_bearer_key() {
    let node = Node::start().await;
    let address = node.serve_tcp("right").await;
    for (key, admitted) in [("right", true), ("wrong", false), ("", false)] {
        let target = Target::Tcp {
            address: address.clone(),
            key: Secret::new(key.to_owned()),
        };
        match (Client::connect(target).await, admitted) {
            (Ok((_, status)), true) => assert_eq!(status.pid, 42),
            (Err(ClientError::Refused(problem)), false) => {
                assert_eq!((problem.code.as_str(), problem.status), ("LG0716", 401));
            }
            (other, _) => panic!("key {key:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_socket_is_private_and_not_taken_from_a_living_node() {
    let node = Node::start().await;
    let mode = fs_err::metadata(&node.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = bind_unix(&node.socket).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);

    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("stale.sock");
    drop(bind_unix(&stale).await.unwrap());
    bind_unix(&stale).await.unwrap();
}
