//! Who is taken for the server, and what is said of those who are not.

use std::net::SocketAddr;

use lockgate_model::gateway::{EndpointSpec, GatewaySpec};
use lockgate_testkit::tls::{Authority, Identity, Validity};

use super::{OK, POST, host, known, server, tls_spec};
use crate::support::{Rig, Scripted, block_on, route, spec};

fn answering(identity: &Identity) -> Scripted {
    server(identity, |peer| {
        while peer.request().is_some() {
            peer.say(OK);
        }
    })
}

fn spec_of(endpoint: EndpointSpec) -> GatewaySpec {
    let mut spec = spec(1, vec![route("all", "/")], &[]);
    spec.upstreams[0].endpoints = vec![endpoint];
    spec
}

/// The reason that a client is told, and the cause in the log.
fn refused(endpoint: EndpointSpec) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let file = log.clone();
    let mut rig = Rig::tuned(spec_of(endpoint), |settings| {
        settings.access_log = Some(file);
    });
    let answer = rig.ask(POST);
    assert_eq!(answer.status, 502, "{answer:?}");
    let reason = answer.reason();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains("certificate"), "a client is told: {text}");
    block_on(rig.take().drain(std::time::Duration::from_secs(1)));
    let log = fs_err::read_to_string(log).expect("a log");
    let line: serde_json::Value = serde_json::from_str(log.trim()).expect("one line");
    (
        reason,
        line["cause"].as_str().unwrap_or_default().to_owned(),
    )
}

#[test]
fn servers_that_cannot_be_trusted_are_told_precisely_to_the_log_only() {
    let (authority, good) = known();
    let stranger = Authority::new("stranger").expect("an authority");
    let issue = |by: &Authority, name: &str, validity| by.issue(&[name], validity).expect("issued");
    let pem = authority.pem();
    for (identity, cause) in [
        (
            issue(&stranger, "up.test", Validity::Now),
            "from an authority that is not trusted",
        ),
        (
            issue(&authority, "down.test", Validity::Now),
            "not for `up.test` but for",
        ),
        (issue(&authority, "up.test", Validity::Past), "has expired"),
        (
            issue(&authority, "up.test", Validity::Future),
            "is not valid yet",
        ),
    ] {
        let upstream = answering(&identity);
        let endpoint = host(&[upstream.address], "up.test", Some(&pem));
        let (reason, told) = refused(endpoint);
        assert_eq!(reason, "upstream_tls", "{cause}");
        assert!(told.contains(cause), "`{told}` and not `{cause}`");
        assert_eq!(upstream.requests(), Vec::<String>::new(), "{cause}");
    }
    // The system's roots do not know a private authority.
    let upstream = answering(&good);
    let (reason, told) = refused(host(&[upstream.address], "up.test", None));
    assert_eq!(reason, "upstream_tls");
    assert!(told.contains("not trusted"), "{told}");
}

#[test]
fn servers_that_do_not_speak_our_tls_are_told() {
    let (authority, _) = known();
    let pem = authority.pem();
    let plain = Scripted::start(|peer| {
        peer.say(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        peer.wait_closed();
    });
    let closing = Scripted::start(|peer| {
        let _ = peer.body(1);
    });
    // A fatal alert: protocol_version.
    let old = Scripted::start(|peer| {
        let _ = peer.body(1);
        peer.say(b"\x15\x03\x01\x00\x02\x02\x46");
        peer.wait_closed();
    });
    for (upstream, cause) in [
        (&plain, "does not speak TLS on this port"),
        (&closing, "during the handshake"),
        (&old, "speaks neither TLS 1.2 nor 1.3"),
    ] {
        let endpoint = host(&[upstream.address], "up.test", Some(&pem));
        let (reason, told) = refused(endpoint);
        assert_eq!(reason, "upstream_tls", "{cause}");
        assert!(told.contains(cause), "`{told}` and not `{cause}`");
    }
}

#[test]
fn addresses_are_named_by_certificates_too() {
    let authority = Authority::new("root").expect("an authority");
    let identity = authority.issue(&["127.0.0.1"], Validity::Now);
    let upstream = answering(&identity.expect("issued"));
    let pem = authority.pem();
    let rig = Rig::start(spec_of(host(&[upstream.address], "127.0.0.1", Some(&pem))));
    assert_eq!(rig.get("/").status, 200);
    let (reason, _) = refused(host(&[upstream.address], "127.0.0.2", Some(&pem)));
    assert_eq!(reason, "upstream_tls");
}

#[test]
fn a_failed_handshake_moves_even_a_post_to_the_next_endpoint() {
    let (authority, good) = known();
    let stranger = Authority::new("stranger").expect("an authority");
    let bad = stranger.issue(&["up.test"], Validity::Now).expect("issued");
    let (bad, good) = (answering(&bad), answering(&good));
    let pem = authority.pem();
    let mut spec = tls_spec(&[bad.address], &authority);
    let mut second = host(&[good.address], "up.test", Some(&pem));
    if let EndpointSpec::Host(host) = &mut second {
        host.authority = "second.test:443".into();
    }
    spec.upstreams[0].endpoints.push(second);
    let rig = Rig::start(spec);
    for _ in 0..6 {
        assert_eq!(rig.ask(POST).status, 200);
    }
    let posts = good
        .requests()
        .into_iter()
        .filter(|r| r.starts_with("POST"));
    assert_eq!(posts.count(), 6);
    assert_eq!(bad.requests(), Vec::<String>::new());
}

#[test]
fn connections_of_different_settings_never_mix() {
    let (authority, good) = known();
    let stranger = Authority::new("stranger").expect("an authority");
    let upstream = answering(&good);
    let at: &[SocketAddr] = &[upstream.address];
    let (known, unknown) = (authority.pem(), stranger.pem());
    let mut spec = spec(
        1,
        vec![route("a", "/a"), route("b", "/b"), route("c", "/c")],
        &[],
    );
    spec.upstreams[0].endpoints = vec![host(at, "up.test", Some(&known))];
    for (route, name, endpoint) in [
        (1, "other ca", host(at, "up.test", Some(&unknown))),
        (2, "other name", host(at, "down.test", Some(&known))),
    ] {
        spec.routes[route].backends[0].upstream = name.into();
        spec.upstreams.push(lockgate_model::gateway::UpstreamSpec {
            name: name.into(),
            endpoints: vec![endpoint],
        });
    }
    let rig = Rig::start(spec);
    for _ in 0..3 {
        // The good connection is kept, its session could be resumed, and neither is lent.
        assert_eq!(rig.get("/a").status, 200);
        assert_eq!(rig.get("/b").reason(), "upstream_tls");
        assert_eq!(rig.get("/c").reason(), "upstream_tls");
    }
    assert_eq!(upstream.requests().len(), 3);
}
