//! Ends, cuts and silence.

use std::io::Write as _;
use std::time::Duration;

use super::{GET, OK, POST, known, server, tls_spec};
use crate::support::{Rig, Scripted, block_on, route};

/// What a server says after its head, and whether it says goodbye.
fn ended(head: &'static str, body: &'static str, goodbye: bool) -> (Rig, Scripted) {
    let (authority, identity) = known();
    let upstream = server(&identity, move |peer| {
        if peer.request().is_some() {
            peer.say(head.as_bytes());
            peer.say(body.as_bytes());
            if goodbye {
                peer.goodbye();
            }
        }
    });
    let rig = Rig::start(tls_spec(&[upstream.address], &authority));
    (rig, upstream)
}

#[test]
fn an_end_without_goodbye_is_a_cut_only_where_nothing_else_says_the_end() {
    let close = "HTTP/1.1 200 OK\r\n\r\n";
    let counted = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n";
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (head, body, goodbye, whole) in [
        (close, "abc", true, true),
        (close, "abc", false, false),
        (counted, "abc", false, true),
        (chunked, "3\r\nabc\r\n0\r\n\r\n", false, true),
        (chunked, "3\r\nabc\r\n", false, false),
        (chunked, "3\r\nabc\r\n", true, false),
        (short, "abc", false, false),
        (short, "abc", true, false),
    ] {
        let (mut rig, _upstream) = ended(head, body, goodbye);
        let answer = rig.get("/");
        let case = format!("{head:?} {body:?} goodbye {goodbye}");
        assert_eq!(answer.status, 200, "{case}");
        assert_eq!(answer.body, b"abc", "{case}");
        assert_eq!(answer.complete, whole, "{case}");
        assert_eq!(
            rig.record().failure,
            (!whole).then_some("truncated"),
            "{case}"
        );
    }
}

#[test]
fn http_1_0_clients_see_a_cut_too() {
    let (rig, _upstream) = ended("HTTP/1.1 200 OK\r\n\r\n", "abc", false);
    let mut client = rig.client();
    client.send(b"GET / HTTP/1.0\r\nhost: t\r\n\r\n");
    let mut seen = Vec::new();
    let end = std::io::Read::read_to_end(&mut client.stream, &mut seen);
    assert!(end.is_err(), "a clean end after {seen:?}");
}

#[test]
fn bytes_changed_on_the_way_are_a_cut() {
    let (authority, identity) = known();
    let upstream = server(&identity, |peer| {
        if peer.request().is_some() {
            peer.say(b"HTTP/1.1 200 OK\r\n\r\nabc");
            // A record of data that nobody sealed.
            let _ = peer
                .peer
                .stream
                .write_all(b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        }
    });
    let rig = Rig::start(tls_spec(&[upstream.address], &authority));
    let answer = rig.get("/");
    assert_eq!((answer.status, answer.complete), (200, false));
    assert_eq!(answer.body, b"abc");
}

#[test]
fn a_server_that_closes_idle_connections_costs_no_request() {
    let (authority, identity) = known();
    for goodbye in [true, false] {
        let upstream = server(&identity, move |peer| {
            if peer.request().is_some() {
                peer.say(OK);
                if goodbye {
                    peer.goodbye();
                }
                let _ = peer.peer.stream.shutdown(std::net::Shutdown::Both);
                peer.peer.note("left");
            }
        });
        let rig = Rig::start(tls_spec(&[upstream.address], &authority));
        let mut client = rig.client();
        for n in 1..=50 {
            client.send(if n % 2 == 0 { GET } else { POST });
            assert_eq!(client.answer().status, 200, "request {n}");
            // The request and the end of its connection.
            upstream.requests_after(2 * n);
        }
        assert_eq!(upstream.connections(), 50);
    }
}

#[test]
fn a_goodbye_alone_makes_a_connection_stale() {
    let (authority, identity) = known();
    let upstream = server(&identity, |peer| {
        if peer.request().is_some() {
            peer.say(OK);
            peer.goodbye();
            peer.peer.note("goodbye");
            // The connection stays open, and whoever uses it gets no answer.
            peer.peer.wait_closed();
        }
    });
    let rig = Rig::start(tls_spec(&[upstream.address], &authority));
    for n in 1..=5 {
        assert_eq!(rig.ask(POST).status, 200);
        upstream.requests_after(2 * n);
    }
    assert_eq!(upstream.connections(), 5);
}

#[test]
fn data_that_nobody_asked_for_reaches_no_exchange() {
    let (authority, identity) = known();
    let upstream = server(&identity, |peer| {
        if peer.request().is_some() {
            peer.say(OK);
            peer.peer.wait_for_go();
            peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong");
            peer.peer.note("unasked");
            peer.request();
        }
    });
    let rig = Rig::start(tls_spec(&[upstream.address], &authority));
    assert_eq!(rig.ask(POST).body, b"ok");
    upstream.go();
    for n in 1..=4 {
        // What comes only after the next request has left cannot be told from its answer: the
        // requests, what was said unasked, and the ends of all connections but the last.
        upstream.requests_after(3 * n - 1);
        assert_eq!(upstream.connections(), n);
        assert_eq!(rig.ask(POST).body, b"ok");
    }
}

#[test]
fn what_a_server_may_say_unasked_makes_no_connection_stale() {
    let (authority, identity) = known();
    let config = identity.server(&[&rustls::version::TLS13]);
    let upstream = super::scripted(config.expect("settings"), |peer| {
        while peer.request().is_some() {
            peer.say(OK);
            // A message of the handshake's kind after the answer, as a late ticket is.
            peer.session.refresh_traffic_keys().expect("made");
            peer.flush();
            peer.peer.note("unasked");
        }
    });
    let rig = Rig::start(tls_spec(&[upstream.address], &authority));
    for n in 1..=10 {
        let answer = if n % 2 == 0 {
            rig.get("/")
        } else {
            rig.ask(POST)
        };
        assert_eq!(answer.body, b"ok");
        upstream.requests_after(2 * n);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_unsafe_request_that_reached_a_tls_server_is_never_sent_twice() {
    let (authority, identity) = known();
    let upstream = server(&identity, |peer| {
        if peer.request().is_some() {
            peer.say(OK);
            peer.request();
        }
    });
    let rig = Rig::start(tls_spec(&[upstream.address], &authority));
    assert_eq!(rig.get("/").status, 200);
    assert_eq!(rig.ask(POST).reason(), "reset_before_head");
    let sent = upstream.requests().into_iter();
    assert_eq!(sent.filter(|r| r.starts_with("POST")).count(), 1);
    // A GET is tried on a fresh connection.
    assert_eq!(rig.get("/").status, 200);
    assert_eq!(rig.get("/").status, 200);
}

#[test]
fn a_handshake_that_stalls_ends_with_the_time_to_connect() {
    let (authority, _) = known();
    let upstream = Scripted::start(|peer| peer.wait_closed());
    let mut spec = tls_spec(&[upstream.address], &authority);
    let mut all = route("all", "/");
    all.timeouts.connect = Duration::from_millis(200);
    spec.routes = vec![all];
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let file = log.clone();
    let mut rig = Rig::tuned(spec, |settings| settings.access_log = Some(file));
    let answer = rig.ask(POST);
    assert_eq!((answer.status, &*answer.reason()), (504, "connect_timeout"));
    let report = block_on(rig.take().drain(Duration::from_secs(1)));
    assert_eq!(report.cut, 0);
    let log = fs_err::read_to_string(log).expect("a log");
    assert!(log.contains("in the TLS handshake"), "{log}");
}

#[test]
fn a_client_that_leaves_ends_the_work_of_a_tls_server() {
    let (authority, identity) = known();
    let upstream = server(&identity, |peer| {
        peer.request();
        // Nothing is said; the gateway must hang up.
        assert!(peer.request().is_none());
    });
    let rig = Rig::start(tls_spec(&[upstream.address], &authority));
    let mut client = rig.client();
    client.send(GET);
    upstream.requests_after(1);
    drop(client);
    upstream.requests_after(2);
}
