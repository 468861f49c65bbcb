//! Upstreams that lie, break off or flood: every bad answer is a 502 or a cut that shows.

use std::net::SocketAddr;
use std::time::Duration;

use lockgate_model::gateway::RouteSpec;

use crate::support::{Rig, Scripted, route, spec};

fn before(upstream: SocketAddr, change: impl FnOnce(&mut RouteSpec)) -> Rig {
    let mut all = route("all", "/");
    change(&mut all);
    Rig::start(spec(1, vec![all], &[upstream]))
}

#[test]
fn answers_outside_the_grammar_are_502() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(40_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: a\r\n".repeat(101));
    let flood = "HTTP/1.1 102 Wait\r\n\r\n".repeat(50);
    for (name, bytes, reason) in [
        (
            "length and chunked",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "bad_response",
        ),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "bad_response",
        ),
        (
            "bad length",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab",
            "bad_response",
        ),
        (
            "unknown coding",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
            "bad_response",
        ),
        (
            "coding in 1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "bad_response",
        ),
        (
            "NUL in a value",
            "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
            "bad_response",
        ),
        (
            "CR in a value",
            "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
            "bad_response",
        ),
        (
            "folded line",
            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
            "bad_response",
        ),
        (
            "bad name",
            "HTTP/1.1 200 OK\r\nX y: a\r\n\r\n",
            "bad_response",
        ),
        ("bare LF", "HTTP/1.1 200 OK\nX: a\n\n", "bad_response"),
        ("not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", "bad_response"),
        ("wrong version", "HTTP/2.0 200 OK\r\n\r\n", "bad_response"),
        (
            "status of two digits",
            "HTTP/1.1 20 OK\r\n\r\n",
            "bad_response",
        ),
        ("status 600", "HTTP/1.1 600 OK\r\n\r\n", "bad_response"),
        (
            "101",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "bad_response",
        ),
        ("large head", long.as_str(), "head_too_large_up"),
        ("many fields", many.as_str(), "head_too_large_up"),
        ("interim flood", flood.as_str(), "bad_response"),
        (
            "closed in its head",
            "HTTP/1.1 200 OK\r\nX: a\r\n",
            "bad_response",
        ),
        (
            "chunk outside the grammar",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "bad_response",
        ),
        ("nothing", "", "reset_before_head"),
    ] {
        let upstream = Scripted::saying(bytes);
        let rig = Rig::before(&upstream);
        let answer = rig.get("/");
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (502, reason),
            "{name}"
        );
        assert!(answer.complete, "{name}");
    }
}

#[test]
fn a_death_inside_a_body_is_never_a_clean_end() {
    for (name, bytes, body) in [
        (
            "counted",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            "abc",
        ),
        (
            "chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "abc",
        ),
        (
            "in a chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc",
            "abc",
        ),
        (
            "before the last line",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            "abc",
        ),
    ] {
        let upstream = Scripted::saying(bytes);
        let mut rig = Rig::before(&upstream);
        let mut client = rig.client();
        client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{name}");
        assert!(!answer.complete, "{name}");
        assert_eq!(answer.body, body.as_bytes(), "{name}");
        assert!(client.is_closed(), "{name}");
        let record = rig.record();
        assert_eq!(record.failure, Some("truncated"), "{name}");
        assert_eq!(record.response_bytes, body.len() as u64, "{name}");
    }
}

#[test]
fn a_chunk_that_breaks_after_the_head_is_a_visible_cut() {
    let upstream = Scripted::start(|peer| {
        peer.request();
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        peer.wait_for_go();
        peer.say(b"zz\r\n0\r\n\r\n");
    });
    let rig = Rig::before(&upstream);
    let mut client = rig.client();
    client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    let answer = client.answer_after_head(|| upstream.go());
    assert_eq!(answer.status, 200);
    assert_eq!(
        (answer.body.as_slice(), answer.complete),
        (&b"abc"[..], false)
    );
}

#[test]
fn a_broken_event_stream_ends_by_one_error_event_and_no_end_marker() {
    let upstream = Scripted::saying(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
         a\r\ndata: 1\n\nd\r\n",
    );
    let rig = Rig::before(&upstream);
    let answer = rig.get("/");
    assert!(!answer.complete);
    let text = String::from_utf8(answer.body.clone()).expect("text");
    let (events, error) = text
        .split_once("\n\nevent: error\ndata: ")
        .expect("an event");
    assert!(events.starts_with("data: 1\n"), "{text}");
    let problem: serde_json::Value = serde_json::from_str(error.trim_end()).expect("JSON");
    assert_eq!(problem["reason"], "truncated");
    assert_eq!(problem["request_id"].as_str(), answer.field("x-request-id"));
    assert!(error.ends_with("\n\n"));
}

#[test]
fn close_delimited_bodies_are_relayed_chunked() {
    let upstream = Scripted::saying("HTTP/1.0 200 OK\r\n\r\nabc");
    let rig = Rig::before(&upstream);
    let answer = rig.get("/");
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    assert_eq!(
        (answer.body.as_slice(), answer.complete),
        (&b"abc"[..], true)
    );
}

#[test]
fn bytes_after_an_answer_never_reach_another_exchange() {
    for (name, method, bytes) in [
        (
            "after a counted body",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 666 Evil\r\n\r\n",
        ),
        (
            "after a chunked body",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 666 Evil\r\n\r\n",
        ),
        (
            "body on HEAD",
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        (
            "body on 204",
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        ),
        (
            "body on 304",
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        ),
    ] {
        let upstream = Scripted::start(move |peer| {
            while peer.request().is_some() {
                peer.say(bytes.as_bytes());
            }
        });
        let rig = Rig::before(&upstream);
        let mut client = rig.client();
        for round in 0..3 {
            client.send(format!("{method} / HTTP/1.1\r\nhost: t\r\n\r\n").as_bytes());
            let answer = client.answer_to(method);
            assert!(
                matches!(answer.status, 200 | 204 | 304),
                "{name} {round}: {answer:?}"
            );
            assert!(!answer.body.windows(4).any(|w| w == b"evil"), "{name}");
        }
        assert_eq!(upstream.connections(), 3, "{name}");
    }
}

#[test]
fn an_answer_to_head_keeps_its_length_and_its_connection() {
    let upstream = Scripted::start(|peer| {
        while peer.request().is_some() {
            peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
        }
    });
    let rig = Rig::before(&upstream);
    let mut client = rig.client();
    for _ in 0..2 {
        client.send(b"HEAD / HTTP/1.1\r\nhost: t\r\n\r\n");
        let answer = client.answer_to("HEAD");
        assert_eq!(answer.field("content-length"), Some("1234"));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_early_answer_is_relayed_and_ends_both_connections() {
    let upstream = Scripted::start(|peer| {
        peer.head();
        peer.say(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
        peer.wait_closed();
    });
    let rig = Rig::before(&upstream);
    for _ in 0..2 {
        let mut client = rig.client();
        client.send(b"POST / HTTP/1.1\r\nhost: t\r\nContent-Length: 100\r\n\r\nabc");
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_slice()), (403, &b"no"[..]));
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(client.is_closed());
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn an_upstream_that_says_nothing_is_a_504_on_time() {
    let upstream = Scripted::start(|peer| {
        peer.request();
        peer.wait_closed();
    });
    let rig = before(upstream.address, |r| {
        r.timeouts.head = Duration::from_millis(50);
    });
    assert_eq!(rig.get("/").reason(), "upstream_head_timeout");
    let rig = before(upstream.address, |r| {
        r.timeouts.total = Some(Duration::from_millis(50));
    });
    assert_eq!(rig.get("/").reason(), "timeout");
}

#[test]
fn an_upstream_that_stalls_in_its_body_is_cut_on_time() {
    let upstream = Scripted::start(|peer| {
        peer.request();
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        peer.wait_closed();
    });
    let mut rig = before(upstream.address, |r| {
        r.timeouts.idle = Duration::from_millis(50);
    });
    let answer = rig.get("/");
    assert_eq!((answer.status, answer.complete), (200, false));
    assert_eq!(rig.record().failure, Some("idle_timeout"));
}

#[test]
fn a_client_that_leaves_cancels_the_upstream() {
    let upstream = Scripted::start(|peer| {
        peer.request();
        peer.wait_closed();
        peer.note("cancelled");
    });
    let mut rig = Rig::before(&upstream);
    let mut client = rig.client();
    client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    rig.wait_for("lockgate_gateway_upstream_connects_total", 1);
    drop(client);
    let record = rig.record();
    assert_eq!((record.status, record.failure), (499, Some("gone")));
    drop(rig);
    let seen = upstream.requests_after(2);
    assert_eq!(seen[1], "cancelled");
}

#[test]
fn answer_fields_of_one_hop_stay_there() {
    let upstream = Scripted::saying(
        "HTTP/1.1 200 Fine\r\nConnection: X-Hop\r\nX-Hop: gone\r\nKeep-Alive: gone\r\nUpgrade: gone\r\n\
         X-Request-Id: gone\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    );
    let rig = Rig::before(&upstream);
    let answer = rig.get("/");
    assert!(
        answer.head.starts_with("HTTP/1.1 200 Fine\r\n"),
        "{}",
        answer.head
    );
    assert!(!answer.head.contains("gone"), "{}", answer.head);
    assert!(answer.head.contains("Set-Cookie: a\r\nSet-Cookie: b\r\n"));
    assert!(answer.field("date").is_some());
}

#[test]
fn large_bodies_pass_both_ways_unchanged() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = rig.client();
    client.send(
        format!(
            "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    client.send(&body);
    let answer = client.answer();
    // The echo of bytes that are no text is lossy, so the received ones are compared.
    assert_eq!(answer.status, 200);
    let seen = upstream.seen.lock();
    assert!(seen[0].ends_with(&body));
    drop(seen);
    let chunked = Scripted::start(|peer| {
        peer.request();
        let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for n in 0..30 {
            bytes.extend_from_slice(b"186a0\r\n");
            bytes.extend_from_slice(&vec![n; 100_000]);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        peer.say(&bytes);
    });
    let answer = Rig::before(&chunked).get("/");
    assert!(answer.complete);
    let wanted: Vec<u8> = (0..30_u8).flat_map(|n| vec![n; 100_000]).collect();
    assert!(answer.body == wanted, "the body was changed");
}
