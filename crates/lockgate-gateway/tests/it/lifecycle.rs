//! Tables that change under load, tables from disk, the access log, metrics and the drain.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockgate_model::gateway::{EndpointSpec, GatewaySpec};

use crate::support::{
    Client, PATIENCE, Rig, Scripted, block_on, key, key_text, route, spec, with_key,
};

/// Answers every request with `text`.
fn answering(text: &'static str) -> Scripted {
    Scripted::start(move |peer| {
        while peer.request().is_some() {
            peer.say(
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
                    text.len()
                )
                .as_bytes(),
            );
        }
    })
}

#[test]
fn a_swap_reaches_the_next_request_of_every_connection_and_no_running_one() {
    let slow = Scripted::start(|peer| {
        peer.request();
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\no");
        peer.wait_for_go();
        peer.say(b"ld");
    });
    let new = answering("new");
    let mut rig = Rig::start(spec(1, vec![route("old", "/")], &[slow.address]));
    let mut client = rig.client();
    client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    slow.requests_after(1);
    rig.publish(spec(2, vec![route("new", "/")], &[new.address]));
    slow.go();
    assert_eq!(client.answer().body, b"old");
    client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    assert_eq!(client.answer().body, b"new");
    let versions: Vec<(u64, Option<String>)> = (0..2)
        .map(|_| rig.record())
        .map(|record| (record.table_version, record.route))
        .collect();
    assert_eq!(
        versions,
        [(1, Some("old".to_owned())), (2, Some("new".to_owned()))]
    );
}

#[test]
fn swaps_under_load_cost_no_request() {
    let upstream = answering("ok");
    let rig = Rig::tuned(spec(1, vec![route("r", "/")], &[upstream.address]), |s| {
        s.workers = 2
    });
    let (address, stop) = (rig.address, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address);
                    let mut answers = 0;
                    while !stop.load(Ordering::Relaxed) {
                        client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
                        assert_eq!(client.answer().status, 200);
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        for version in 2..8 {
            let mut next = spec(version, vec![route("r", "/")], &[upstream.address]);
            next.routes.push(route("other", "/other"));
            rig.publish(next);
        }
        stop.store(true, Ordering::Relaxed);
        for load in load {
            assert!(load.join().expect("no request failed") > 0);
        }
    });
}

#[test]
fn an_invalid_spec_is_refused_whole_and_the_old_table_serves() {
    let upstream = answering("ok");
    let rig = Rig::start(spec(1, vec![route("r", "/")], &[upstream.address]));
    let mut bad = spec(
        2,
        vec![route("r", "/"), route("s", "/s/../x")],
        &[upstream.address],
    );
    bad.routes[1].backends[0].upstream = "upp".into();
    rig.spec.send_replace(std::sync::Arc::new(bad.clone()));
    let status = rig.status(|status| status.rejected.is_some());
    assert_eq!(status.version, 1);
    let rejected = status.rejected.expect("just seen");
    let (version, found) = (rejected.version, rejected.diagnostics);
    assert_eq!(version, 2);
    assert_eq!(found, lockgate_gateway::check(&bad));
    let codes: Vec<&str> = found.iter().map(|d| d.code.as_str()).collect();
    assert_eq!(codes, ["LG0502", "LG0505"]);
    assert_eq!(rig.get("/").status, 200);
    assert_eq!(rig.metric("lockgate_gateway_tables_rejected_total"), 1);
    rig.publish(spec(3, vec![route("r", "/")], &[upstream.address]));
    assert_eq!(rig.status(|_| true).rejected, None);
}

#[test]
fn a_revoked_key_is_refused_at_once() {
    let upstream = answering("ok");
    let mut wanted = spec(1, vec![with_key(route("r", "/"))], &[upstream.address]);
    let rig = Rig::start(wanted.clone());
    let mut client = rig.client();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: t\r\nx-api-key: {}\r\n\r\n",
        key_text(1)
    );
    client.send(request.as_bytes());
    assert_eq!(client.answer().status, 200);
    wanted.version = 2;
    wanted.api_keys.remove(0);
    rig.publish(wanted);
    client.send(request.as_bytes());
    assert_eq!(client.answer().reason(), "unauthenticated");
}

#[test]
fn a_restarted_node_serves_the_last_good_table_before_anyone_speaks() {
    let upstream = answering("ok");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table");
    let mut wanted = spec(5, vec![with_key(route("r", "/"))], &[upstream.address]);
    wanted.api_keys.push(key(77, "bob"));
    let start = |spec: GatewaySpec| Rig::tuned(spec, |s| s.table_file = Some(file.clone()));
    let mut first = start(GatewaySpec::default());
    assert_eq!(first.get("/").reason(), "no_route");
    first.publish(wanted.clone());
    block_on(first.take().drain(Duration::ZERO));
    let mut second = start(GatewaySpec::default());
    assert_eq!(second.status(|_| true).version, 5);
    let request = format!(
        "GET / HTTP/1.1\r\nhost: t\r\nx-api-key: {}\r\n\r\n",
        key_text(77)
    );
    assert_eq!(second.ask(request.as_bytes()).status, 200);
    block_on(second.take().drain(Duration::ZERO));
    // A table that the control plane states at once wins over the file.
    wanted.version = 6;
    wanted.routes.clear();
    let third = start(wanted);
    assert_eq!(third.ask(request.as_bytes()).reason(), "no_route");
}

#[test]
fn a_torn_table_file_is_refused_with_a_diagnostic_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table");
    fs_err::write(&file, "lockgate-table 1 00\n{}").expect("written");
    let rig = Rig::tuned(GatewaySpec::default(), |s| {
        s.table_file = Some(file.clone())
    });
    let status = rig.status(|_| true);
    let found = status.rejected.expect("a diagnostic").diagnostics;
    assert_eq!((status.version, found[0].code.as_str()), (0, "LG0511"));
    assert_eq!(rig.get("/").reason(), "no_route");
    assert_eq!(
        fs_err::read_to_string(&file).expect("kept"),
        "lockgate-table 1 00\n{}"
    );
}

#[test]
fn a_removed_endpoint_drains() {
    let (closed_tx, closed) = std::sync::mpsc::sync_channel(1);
    let old = Scripted::start(move |peer| {
        while peer.request().is_some() {
            peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
        // The wake-up of the listener's end finds nobody waiting.
        let _ = closed_tx.try_send(());
    });
    let new = answering("new");
    let mut wanted = spec(1, vec![route("r", "/")], &[old.address]);
    let rig = Rig::tuned(wanted.clone(), |s| s.limits.pool_idle = PATIENCE * 2);
    assert_eq!(rig.get("/").status, 200);
    wanted.version = 2;
    wanted.upstreams[0].endpoints = vec![EndpointSpec::Tcp(new.address)];
    rig.publish(wanted);
    closed
        .recv_timeout(PATIENCE)
        .expect("the idle connection to the removed endpoint is closed");
    assert_eq!(rig.get("/").body, b"new");
}

#[test]
fn drain_lets_requests_finish_and_announces_the_end() {
    let upstream = Scripted::start(|peer| {
        while peer.request().is_some() {
            peer.wait_for_go();
            peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let mut rig = Rig::before(&upstream);
    let (mut busy, mut idle) = (rig.client(), rig.client());
    busy.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    upstream.requests_after(1);
    rig.wait_for("lockgate_gateway_connections_total", 2);
    let (address, running) = (rig.address, rig.take());
    let draining = std::thread::spawn(move || block_on(running.drain(PATIENCE)));
    while std::net::TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    // The idle connection was not cut: its next request is served.
    idle.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    upstream.requests_after(2);
    upstream.go();
    for client in [&mut busy, &mut idle] {
        let answer = client.answer();
        assert_eq!(answer.body, b"ok");
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(client.is_closed());
    }
    let report = draining.join().expect("the drain ends");
    assert_eq!(report.cut, 0);
    assert!(report.finished >= 2, "{report:?}");
}

#[test]
fn drain_cuts_at_its_deadline_and_says_so() {
    let upstream = Scripted::start(|peer| {
        peer.request();
        peer.wait_closed();
    });
    let mut rig = Rig::before(&upstream);
    let mut client = rig.client();
    client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    upstream.requests_after(1);
    let report = block_on(rig.take().drain(Duration::from_millis(20)));
    assert_eq!((report.finished, report.cut), (0, 1));
    assert_eq!(client.answer().status, 0);
}

#[test]
fn every_request_leaves_one_log_line_and_is_counted() {
    let upstream = answering("ok");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let mut rig = Rig::tuned(
        spec(4, vec![with_key(route("p/s/r", "/a"))], &[upstream.address]),
        |s| s.access_log = Some(file.clone()),
    );
    let keyed = format!(
        "GET /a?q=secret HTTP/1.1\r\nhost: T\r\nx-api-key: {}\r\n\r\n",
        key_text(1)
    );
    let ids: HashSet<String> = [
        rig.ask(keyed.as_bytes()),
        rig.get("/a"),
        rig.get("/b"),
        rig.ask(b"garbage\r\n\r\n"),
    ]
    .iter()
    .map(|answer| answer.field("x-request-id").expect("an id").to_owned())
    .collect();
    for _ in 0..4 {
        rig.record();
    }
    let metrics = rig.metrics();
    for line in [
        "lockgate_gateway_requests_total 4",
        "lockgate_gateway_failures_total{kind=\"unauthenticated\",side=\"gateway\"} 1",
        "lockgate_gateway_failures_total{kind=\"no_route\",side=\"gateway\"} 1",
        "lockgate_gateway_failures_total{kind=\"bad_framing\",side=\"client\"} 1",
        "lockgate_gateway_route_requests_total{route=\"p/s/r\",class=\"2xx\"} 1",
        "lockgate_gateway_request_duration_seconds_count 4",
        "lockgate_gateway_table_version 4",
        "lockgate_gateway_response_body_bytes_total 2",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
    block_on(rig.take().drain(Duration::ZERO));
    let log = fs_err::read_to_string(&file).expect("a log");
    assert!(!log.contains("lgk_") && !log.contains("secret"), "{log}");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let logged: HashSet<String> = lines
        .iter()
        .map(|line| line["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(logged, ids);
    let ok = lines
        .iter()
        .find(|line| line["status"] == 200)
        .expect("the answered one");
    assert_eq!(ok["host"], "t");
    assert_eq!(ok["path"], "/a");
    assert_eq!(ok["consumer"], "alice");
    assert_eq!(ok["table_version"], 4);
}

#[test]
fn records_without_room_are_dropped_and_counted() {
    let upstream = answering("ok");
    let rig = Rig::before(&upstream);
    let mut client = rig.client();
    for _ in 0..1100 {
        client.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n");
        client.answer();
    }
    rig.wait_for("lockgate_gateway_records_dropped_total", 1);
    // The client has its last answer a moment before the answer is counted.
    rig.wait_for("lockgate_gateway_requests_total", 1100);
    assert_eq!(rig.metric("lockgate_gateway_requests_total"), 1100);
}
