//! Pools, stale connections and second tries: an unsafe request is never sent twice.

use std::net::TcpListener;
use std::time::Duration;

use lockgate_model::gateway::EndpointSpec;

use crate::support::{Rig, Scripted, route, spec};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers one request per connection without saying that it will close.
fn closes_after_each() -> Scripted {
    Scripted::start(|peer| {
        if peer.request().is_some() {
            peer.say(OK);
        }
    })
}

/// Answers one request, then reads the second one and closes without a byte.
fn dies_on_the_second() -> Scripted {
    Scripted::start(|peer| {
        if peer.request().is_some() {
            peer.say(OK);
            peer.request();
        }
    })
}

#[test]
fn upstream_connections_are_reused() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    for _ in 0..10 {
        assert_eq!(rig.get("/").status, 200);
    }
    assert_eq!(upstream.connections(), 1);
    assert_eq!(rig.metric("lockgate_gateway_upstream_reuses_total"), 9);
}

#[test]
fn an_upstream_that_closes_every_connection_costs_no_request() {
    let upstream = closes_after_each();
    let rig = Rig::before(&upstream);
    let mut client = rig.client();
    for n in 0..100 {
        client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
        assert_eq!(client.answer().status, 200, "request {n}");
    }
    assert_eq!(upstream.requests().len(), 100);
}

#[test]
fn a_get_on_a_stale_connection_is_tried_once_more() {
    let upstream = dies_on_the_second();
    let mut rig = Rig::before(&upstream);
    assert_eq!(rig.get("/").status, 200);
    assert_eq!(rig.record().attempts, 1);
    assert_eq!(rig.get("/").status, 200);
    assert_eq!(rig.record().attempts, 2);
    assert_eq!(upstream.connections(), 2);
    assert_eq!(upstream.requests().len(), 3);
}

#[test]
fn an_unsafe_request_that_reached_the_wire_is_never_sent_twice() {
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let upstream = dies_on_the_second();
        let rig = Rig::before(&upstream);
        assert_eq!(rig.get("/").status, 200);
        let request = format!("{method} / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc");
        let answer = rig.ask(request.as_bytes());
        assert_eq!(answer.reason(), "reset_before_head", "{method}");
        let unsafe_ones = upstream
            .requests()
            .into_iter()
            .filter(|r| r.starts_with(method));
        assert_eq!(unsafe_ones.count(), 1, "{method}");
    }
}

#[test]
fn a_fresh_connection_that_dies_is_not_tried_again() {
    let upstream = Scripted::start(|peer| {
        peer.request();
    });
    let rig = Rig::before(&upstream);
    assert_eq!(rig.get("/").reason(), "reset_before_head");
    assert_eq!(upstream.requests().len(), 1);
}

/// An address that refuses connections.
fn refusing() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

#[test]
fn a_refused_connection_moves_even_a_post_to_the_next_endpoint() {
    let upstream = Scripted::echo();
    let rig = Rig::start(spec(
        1,
        vec![route("r", "/")],
        &[refusing(), upstream.address],
    ));
    for _ in 0..6 {
        let answer = rig.ask(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc");
        assert_eq!(answer.status, 200);
    }
    assert_eq!(upstream.requests().len(), 6);
    assert_eq!(rig.metric("lockgate_gateway_upstream_retries_total"), 3);
}

#[test]
fn refused_everywhere_is_a_502_and_no_endpoint_a_503() {
    let rig = Rig::start(spec(1, vec![route("r", "/")], &[refusing()]));
    assert_eq!(rig.get("/").reason(), "refused");
    let rig = Rig::start(spec(1, vec![route("r", "/")], &[]));
    let answer = rig.get("/");
    assert_eq!(answer.reason(), "no_endpoint");
    assert_eq!(answer.field("retry-after"), Some("1"));
}

#[test]
fn retries_stay_inside_their_budget() {
    let rig = Rig::start(spec(
        1,
        vec![route("r", "/")],
        &[refusing(), refusing(), refusing()],
    ));
    for _ in 0..50 {
        assert_eq!(rig.get("/").reason(), "refused");
    }
    let tries = rig.metric("lockgate_gateway_upstream_connects_total");
    assert!((51..=63).contains(&tries), "{tries} tries of 50 requests");
}

#[test]
fn pooled_connections_age_out() {
    let upstream = Scripted::echo();
    let rig = Rig::tuned(spec(1, vec![route("r", "/")], &[upstream.address]), |s| {
        s.limits.pool_idle = Duration::ZERO;
    });
    for _ in 0..3 {
        assert_eq!(rig.get("/").status, 200);
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn connections_to_an_endpoint_are_capped() {
    let upstream = Scripted::start(|peer| {
        peer.request();
        peer.wait_for_go();
        peer.say(OK);
    });
    let rig = Rig::tuned(spec(1, vec![route("r", "/")], &[upstream.address]), |s| {
        s.limits.connections_per_endpoint_max = 1;
    });
    let mut first = rig.client();
    first.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    upstream.requests_after(1);
    let answer = rig.get("/");
    assert_eq!(answer.reason(), "circuit_open");
    assert_eq!(answer.field("retry-after"), Some("1"));
    upstream.go();
    assert_eq!(first.answer().status, 200);
}

#[test]
fn handed_sockets_come_from_the_dialer() {
    let upstream = Scripted::echo();
    let mut wanted = spec(1, vec![route("r", "/")], &[]);
    wanted.upstreams[0].endpoints = vec![EndpointSpec::Handed {
        instance: "127.0.0.1".into(),
        port: upstream.address.port(),
    }];
    let rig = Rig::start(wanted.clone());
    assert_eq!(rig.get("/").status, 200);
    wanted.version = 2;
    wanted.upstreams[0].endpoints = vec![EndpointSpec::Handed {
        instance: "nobody".into(),
        port: 1,
    }];
    rig.publish(wanted);
    assert_eq!(rig.get("/").reason(), "refused");
}
