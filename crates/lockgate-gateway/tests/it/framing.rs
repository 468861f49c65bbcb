//! Request framing: what is ambiguous is refused, and nothing of it reaches the upstream.

use crate::support::{Client, Rig, Scripted, key_text, route, spec, with_key};

/// Sends each request on its own connection and compares status and reason; the connection must
/// end afterwards, and the upstream must not have seen a whole request.
fn check_refused(cases: &[(&str, &[u8], u16, &str)]) {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    for (name, request, status, reason) in cases {
        let mut client = rig.client();
        client.send(request);
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (*status, *reason),
            "{name}"
        );
        assert_eq!(answer.field("connection"), Some("close"), "{name}");
        assert!(client.is_closed(), "{name}");
    }
    assert_eq!(upstream.requests(), Vec::<String>::new());
}

#[test]
fn ambiguous_lengths_are_refused() {
    check_refused(&[
        ("length and chunked", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_framing"),
        ("two equal lengths", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, "bad_framing"),
        ("two lengths", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\ncontent-length: 4\r\n\r\nabc", 400, "bad_framing"),
        ("a list", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3, 3\r\n\r\nabc", 400, "bad_framing"),
        ("a sign", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +3\r\n\r\nabc", 400, "bad_framing"),
        ("a blank", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1 1\r\n\r\nabc", 400, "bad_framing"),
        ("nothing", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length:\r\n\r\nabc", 400, "bad_framing"),
        ("overflow", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 18446744073709551616\r\n\r\nabc", 400, "bad_framing"),
        ("unknown coding", b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "unknown_coding"),
        ("two codings", b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, "bad_framing"),
        ("chunked twice", b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_framing"),
        ("chunked with a tab", b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, "bad_framing"),
        ("chunked in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_framing"),
    ]);
}

#[test]
fn heads_outside_the_grammar_are_refused() {
    check_refused(&[
        (
            "folded line",
            b"GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "blank before colon",
            b"GET / HTTP/1.1\r\nHost: t\r\nX : a\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "empty name",
            b"GET / HTTP/1.1\r\nHost: t\r\n: a\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "name with a bracket",
            b"GET / HTTP/1.1\r\nHost: t\r\nX(: a\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "blank first",
            b"GET / HTTP/1.1\r\n Host: t\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "no colon",
            b"GET / HTTP/1.1\r\nHost: t\r\nX\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "bare LF in a field",
            b"GET / HTTP/1.1\r\nHost: t\nX: a\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "bare LF first",
            b"GET / HTTP/1.1\nHost: t\n\n",
            400,
            "bad_framing",
        ),
        (
            "bare LF at the end",
            b"GET / HTTP/1.1\r\nHost: t\r\n\n",
            400,
            "bad_framing",
        ),
        (
            "bare CR in a value",
            b"GET / HTTP/1.1\r\nHost: t\r\nX: a\rb\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "NUL in a value",
            b"GET / HTTP/1.1\r\nHost: t\r\nX: a\0b\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "control in a name",
            b"GET / HTTP/1.1\r\nHost: t\r\nX\x01: a\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "control in the method",
            b"G\x01T / HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "non-ASCII target",
            "GET /ü HTTP/1.1\r\nHost: t\r\n\r\n".as_bytes(),
            400,
            "bad_framing",
        ),
        (
            "two blanks",
            b"GET  / HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "blank in the target",
            b"GET /a b HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "no version",
            b"GET /\r\nHost: t\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "major 2",
            b"GET / HTTP/2.0\r\nHost: t\r\n\r\n",
            505,
            "bad_version",
        ),
        (
            "not HTTP",
            b"GET / HTTQ/1.1\r\nHost: t\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "TLS hello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
            400,
            "bad_framing",
        ),
    ]);
}

#[test]
fn hosts_and_targets_must_be_clear() {
    check_refused(&[
        ("no host", b"GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
        ("no host in 1.0", b"GET / HTTP/1.0\r\n\r\n", 400, "bad_host"),
        (
            "two hosts",
            b"GET / HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n",
            400,
            "bad_host",
        ),
        (
            "empty host",
            b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
            400,
            "bad_host",
        ),
        (
            "host with a path",
            b"GET / HTTP/1.1\r\nHost: t/x\r\n\r\n",
            400,
            "bad_host",
        ),
        (
            "host with user info",
            b"GET / HTTP/1.1\r\nHost: a@t\r\n\r\n",
            400,
            "bad_host",
        ),
        (
            "host with a list",
            b"GET / HTTP/1.1\r\nHost: t, u\r\n\r\n",
            400,
            "bad_host",
        ),
        (
            "bad port",
            b"GET / HTTP/1.1\r\nHost: t:8x\r\n\r\n",
            400,
            "bad_host",
        ),
        (
            "authority is not host",
            b"GET http://u/ HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            400,
            "bad_target",
        ),
        (
            "user info",
            b"GET http://a@t/ HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            400,
            "bad_target",
        ),
        (
            "fragment",
            b"GET /#a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            400,
            "bad_target",
        ),
        (
            "no slash",
            b"GET a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            400,
            "bad_target",
        ),
        (
            "asterisk",
            b"GET * HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            400,
            "bad_target",
        ),
        (
            "connect",
            b"CONNECT t:1 HTTP/1.1\r\nHost: t:1\r\nConnection: close\r\n\r\n",
            405,
            "method_not_allowed",
        ),
        (
            "other scheme",
            b"GET ftp://t/ HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            400,
            "bad_target",
        ),
    ]);
}

#[test]
fn fields_that_would_mislead_are_refused() {
    check_refused(&[
        (
            "two content types",
            b"GET / HTTP/1.1\r\nHost: t\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n",
            400,
            "bad_field",
        ),
        (
            "two authorizations",
            b"GET / HTTP/1.1\r\nHost: t\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
            400,
            "bad_field",
        ),
        (
            "host as hop",
            b"GET / HTTP/1.1\r\nHost: t\r\nConnection: Host\r\n\r\n",
            400,
            "bad_field",
        ),
        (
            "length as hop",
            b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close, content-length\r\n\r\n",
            400,
            "bad_field",
        ),
        (
            "identity as hop",
            b"GET / HTTP/1.1\r\nHost: t\r\nConnection: X-Forwarded-For\r\n\r\n",
            400,
            "bad_field",
        ),
        (
            "credentials as hop",
            b"GET / HTTP/1.1\r\nHost: t\r\nConnection: authorization\r\n\r\n",
            400,
            "bad_field",
        ),
        (
            "other expectation",
            b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nExpect: tea\r\n\r\n",
            417,
            "bad_expectation",
        ),
    ]);
}

#[test]
fn broken_chunks_are_refused_before_anything_is_forwarded() {
    let head = "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(300));
    let cases: Vec<(&str, Vec<u8>)> = [
        ("no digits", "\r\n0\r\n\r\n"),
        ("0x", "0x1\r\na\r\n0\r\n\r\n"),
        ("blank", " 1\r\na\r\n0\r\n\r\n"),
        ("sign", "+1\r\na\r\n0\r\n\r\n"),
        ("too many digits", "0000000000000001\r\na\r\n0\r\n\r\n"),
        ("bare LF after the size", "1\na\r\n0\r\n\r\n"),
        ("data too long", "1\r\nab\r\n0\r\n\r\n"),
        ("bare LF after the data", "1\r\na\n0\r\n\r\n"),
        ("long extension", &long_extension),
        ("NUL in an extension", "1;\0\r\na\r\n0\r\n\r\n"),
        ("framing trailer", "0\r\nContent-Length: 1\r\n\r\n"),
        ("routing trailer", "0\r\nHost: t\r\n\r\n"),
        ("credential trailer", "0\r\nAuthorization: t\r\n\r\n"),
        ("identity trailer", "0\r\nx_consumer_id: t\r\n\r\n"),
        ("bad trailer", "0\r\nno colon\r\n\r\n"),
        ("bare LF in trailers", "0\r\nX: a\n\r\n"),
    ]
    .map(|(name, body)| (name, format!("{head}{body}").into_bytes()))
    .to_vec();
    let cases: Vec<(&str, &[u8], u16, &str)> = cases
        .iter()
        .map(|(name, request)| (*name, request.as_slice(), 400, "bad_framing"))
        .collect();
    check_refused(&cases);
}

#[test]
fn a_chunk_that_breaks_later_aborts_the_upstream_exchange() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    let mut client = rig.client();
    client.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    rig.wait_for("lockgate_gateway_upstream_connects_total", 1);
    client.send(b"x\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.reason(), "bad_framing");
    assert!(client.is_closed());
    assert_eq!(
        upstream.requests(),
        Vec::<String>::new(),
        "the request was never ended cleanly"
    );
}

#[test]
fn sizes_are_capped() {
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "a".repeat(8192));
    let long_head = format!(
        "GET / HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n",
        "a".repeat(33_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: t\r\n{}\r\n",
        "X: a\r\n".repeat(100)
    );
    check_refused(&[
        ("target", long_target.as_bytes(), 414, "target_too_long"),
        ("head", long_head.as_bytes(), 431, "head_too_large"),
        ("fields", many.as_bytes(), 431, "head_too_large"),
    ]);
}

#[test]
fn what_is_legal_passes_in_canonical_form() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    for (name, request, wanted) in [
        (
            "absolute form",
            &b"GET http://T/a?b HTTP/1.1\r\nHost: t\r\n\r\n"[..],
            &["GET /a?b HTTP/1.1\r\nhost: t\r\n"][..],
        ),
        (
            "absolute form without path",
            b"GET http://t?b HTTP/1.1\r\nHost: t\r\n\r\n",
            &["GET /?b HTTP/1.1\r\n"],
        ),
        (
            "empty line first, tab and non-ASCII in a value",
            b"\r\nGET / HTTP/1.1\r\nHost: t\r\nX:\t a\t\xe4 \r\n\r\n",
            &["GET / HTTP/1.1\r\n", "X: a\t"],
        ),
        (
            "body on GET",
            b"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc",
            &["content-length: 3\r\n", "\r\n\r\nabc"],
        ),
        (
            "length of nothing",
            b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
            &["content-length: 0\r\n"],
        ),
        (
            "extensions and trailers are dropped",
            b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: Chunked\r\n\r\n\
              00a;x=\"y\"\r\n0123456789\r\n0;z\r\nX-Sum: 1\r\n\r\n",
            &[
                "transfer-encoding: chunked\r\n",
                "\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
            ],
        ),
    ] {
        let answer = rig.ask(request);
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        let seen = upstream.requests().pop().expect("a request");
        for part in wanted {
            assert!(seen.contains(part), "{name}: {part:?} in {seen}");
        }
    }
}

#[test]
fn hop_by_hop_fields_and_what_connection_names_are_removed() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    rig.ask(
        b"GET / HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, X-Hop , upgrade\r\nX-Hop: gone\r\n\
          Keep-Alive: gone\r\nProxy-Connection: gone\r\nTE: gone\r\nTrailer: gone\r\n\
          Upgrade: gone\r\nProxy-Authorization: gone\r\nContent_Length: gone\r\nX-End: kept\r\n\r\n",
    );
    let seen = &upstream.requests()[0];
    assert!(!seen.contains("gone"), "{seen}");
    assert!(!seen.to_ascii_lowercase().contains("connection"), "{seen}");
    assert!(seen.contains("X-End: kept\r\n"), "{seen}");
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    let mut client = rig.client();
    client.send(
        b"GET /1 HTTP/1.1\r\nHost: t\r\n\r\nPOST /2 HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\n\
          abcGET /3 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    );
    for n in 1..=3 {
        let answer = client.answer();
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(body.contains(&format!(" /{n} HTTP/1.1\r\n")), "{body}");
    }
    assert!(client.is_closed());
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_head_may_arrive_byte_by_byte() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    let mut client = rig.client();
    for byte in
        b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    {
        client.send(&[*byte]);
    }
    assert_eq!(client.answer().status, 200);
    let seen = &upstream.requests()[0];
    assert!(seen.ends_with("0\r\n\r\n"), "{seen}");
}

#[test]
fn a_refused_request_without_a_body_keeps_the_connection() {
    let upstream = Scripted::echo();
    let rig = Rig::start(spec(
        1,
        vec![with_key(route("r", "/"))],
        &[upstream.address],
    ));
    let mut client = rig.client();
    client.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.answer().reason(), "unauthenticated");
    client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.answer().reason(), "unauthenticated");
    client.send(
        format!(
            "GET / HTTP/1.1\r\nHost: t\r\nx-api-key: {}\r\n\r\n",
            key_text(1)
        )
        .as_bytes(),
    );
    assert_eq!(client.answer().status, 200);
}

#[test]
fn the_body_of_a_refused_request_is_never_read_as_a_request() {
    let upstream = Scripted::echo();
    let rig = Rig::start(spec(
        1,
        vec![with_key(route("r", "/"))],
        &[upstream.address],
    ));
    let mut client = rig.client();
    let inner = format!(
        "GET /smuggled HTTP/1.1\r\nHost: t\r\nx-api-key: {}\r\n\r\n",
        key_text(1)
    );
    client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.reason(), "unauthenticated");
    assert_eq!(answer.field("connection"), Some("close"));
    client.send(inner.as_bytes());
    assert!(client.is_closed());
    assert_eq!(upstream.requests(), Vec::<String>::new());
}

#[test]
fn expect_is_decided_before_the_body_and_relayed() {
    let upstream = Scripted::start(|peer| {
        let head = peer.head().expect("a head");
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        peer.say(b"HTTP/1.1 100 Continue\r\n\r\n");
        peer.body(3);
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let rig = Rig::start(spec(
        1,
        vec![route("r", "/"), with_key(route("s", "/secret"))],
        &[upstream.address],
    ));
    let mut client = rig.client();
    client.send(
        b"POST /secret HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    );
    assert_eq!(client.answer().status, 401, "no 100 for a refused request");
    assert!(client.is_closed());
    let mut client = rig.client();
    client.send(b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    client.send(b"abc");
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
}

#[test]
fn a_final_answer_instead_of_100_is_relayed_and_ends_the_connection() {
    let upstream = Scripted::start(|peer| {
        peer.head();
        peer.say(b"HTTP/1.1 413 Too Big\r\ncontent-length: 2\r\n\r\nno");
        peer.wait_closed();
    });
    let rig = Rig::before(&upstream);
    let mut client = rig.client();
    client.send(b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_slice()), (413, &b"no"[..]));
    assert_eq!(answer.field("connection"), Some("close"));
    client.send(b"abc");
    assert!(client.is_closed());
}

#[test]
fn the_gateway_says_100_itself_when_the_upstream_does_not() {
    let upstream = Scripted::echo();
    let rig = Rig::tuned(spec(1, vec![route("r", "/")], &[upstream.address]), |s| {
        s.limits.continue_wait = std::time::Duration::from_millis(20);
    });
    let mut client = rig.client();
    client.send(b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    client.send(b"abc");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn http_1_0_clients_get_no_chunks_and_a_close() {
    let upstream = Scripted::saying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let rig = Rig::before(&upstream);
    let answer = rig.ask(b"GET / HTTP/1.0\r\nHost: t\r\n\r\n");
    assert_eq!(answer.body, b"abc");
    assert_eq!(answer.field("connection"), Some("close"));
    assert_eq!(answer.field("transfer-encoding"), None);
}

#[test]
fn a_client_that_pipelines_while_it_waits_is_served() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    let mut client = Client::connect(rig.address);
    for n in 0..200 {
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes());
    }
    for n in 0..200 {
        let answer = client.answer();
        assert!(String::from_utf8_lossy(&answer.body).starts_with(&format!("GET /{n} ")));
    }
}
