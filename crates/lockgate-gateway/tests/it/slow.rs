//! Slow clients and bodies that are too large.

use std::time::Duration;

use crate::support::{Rig, Scripted, route, spec};

#[test]
fn a_slow_head_is_answered_and_closed() {
    let upstream = Scripted::echo();
    let mut rig = Rig::tuned(spec(1, vec![route("r", "/")], &[upstream.address]), |s| {
        s.limits.head_timeout = Duration::from_millis(50);
    });
    let mut client = rig.client();
    client.send(b"GET / HTTP/1.1\r\nhost");
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (408, "head_timeout")
    );
    assert!(client.is_closed());
    assert_eq!(rig.record().failure, Some("head_timeout"));
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let upstream = Scripted::echo();
    let rig = Rig::tuned(spec(1, vec![route("r", "/")], &[upstream.address]), |s| {
        s.limits.keep_alive_idle = Duration::from_millis(50);
    });
    let mut client = rig.client();
    client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().status, 0);
    assert_eq!(rig.metric("lockgate_gateway_requests_total"), 1);
}

#[test]
fn a_body_that_stops_is_answered_and_aborts_the_upstream() {
    let upstream = Scripted::echo();
    let rig = Rig::tuned(spec(1, vec![route("r", "/")], &[upstream.address]), |s| {
        s.limits.body_idle = Duration::from_millis(50);
    });
    let mut client = rig.client();
    client.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nabc");
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (408, "body_timeout")
    );
    assert!(client.is_closed());
    assert_eq!(upstream.requests(), Vec::<String>::new());
}

#[test]
fn bodies_over_the_cap_are_refused_whatever_their_framing() {
    let upstream = Scripted::echo();
    let mut capped = route("r", "/");
    capped.body_bytes_max = Some(8);
    let rig = Rig::start(spec(1, vec![capped], &[upstream.address]));
    for request in [
        &b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\n123456789"[..],
        b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n4\r\n1234\r\n0\r\n\r\n",
    ] {
        assert_eq!(rig.ask(request).reason(), "body_too_large");
    }
    let mut client = rig.client();
    client.send(b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n");
    rig.wait_for("lockgate_gateway_upstream_connects_total", 1);
    client.send(b"5\r\n12345\r\n");
    assert_eq!(client.answer().reason(), "body_too_large");
    assert_eq!(upstream.requests(), Vec::<String>::new());
    let fits = rig.ask(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 8\r\n\r\n12345678");
    assert_eq!(fits.status, 200);
}

#[test]
fn a_client_that_stops_reading_is_let_go() {
    let upstream = Scripted::start(|peer| {
        peer.request();
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
        let block = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            peer.say(&block);
        }
    });
    let mut all = route("r", "/");
    all.timeouts.idle = Duration::from_millis(200);
    let mut rig = Rig::start(spec(1, vec![all], &[upstream.address]));
    let mut client = rig.client();
    client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    let record = rig.record();
    assert_eq!((record.status, record.failure), (499, Some("gone")));
    assert!(record.response_bytes < 100_000_000);
}

#[test]
fn connections_over_the_cap_wait_for_their_turn() {
    let upstream = Scripted::echo();
    let rig = Rig::tuned(spec(1, vec![route("r", "/")], &[upstream.address]), |s| {
        s.limits.connections_per_worker_max = 1;
    });
    let mut first = rig.client();
    first.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    assert_eq!(first.answer().status, 200);
    let mut second = rig.client();
    second.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    first.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    assert_eq!(first.answer().status, 200);
    assert_eq!(rig.metric("lockgate_gateway_connections_open"), 1);
    drop(first);
    assert_eq!(second.answer().status, 200);
}
