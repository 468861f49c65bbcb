//! TLS to upstreams: nobody is trusted unproven, nothing that was cut looks whole, and kept
//! connections cost no request.

mod faults;
mod peer;
mod trust;

use std::net::SocketAddr;

use lockgate_model::gateway::{EndpointSpec, GatewaySpec, HostSpec, TlsSpec};
use lockgate_model::tls::{CaCertificates, ServerIdentity};
use lockgate_testkit::tls::{Authority, Front, Identity, Validity};

use self::peer::{TlsPeer, scripted};
use crate::support::{Rig, route, spec};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: t\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc";

/// An authority and a server of the name `up.test`.
fn known() -> (Authority, Identity) {
    let authority = Authority::new("test root").expect("an authority");
    let identity = authority.issue(&["up.test"], Validity::Now);
    (authority, identity.expect("a certificate"))
}

/// The host at `addresses`, which must prove to be `name` to those who trust `pem`.
fn host(addresses: &[SocketAddr], name: &str, pem: Option<&str>) -> EndpointSpec {
    EndpointSpec::Host(HostSpec {
        authority: "up.test:443".into(),
        addresses: addresses.to_vec(),
        tls: Some(TlsSpec {
            server_name: ServerIdentity::parse(name).expect("a name"),
            ca_certificates: pem.map(|pem| CaCertificates::parse(pem).expect("certificates")),
        }),
    })
}

/// One public route to one TLS host.
fn tls_spec(addresses: &[SocketAddr], authority: &Authority) -> GatewaySpec {
    let mut spec = spec(1, vec![route("all", "/")], &[]);
    let pem = authority.pem();
    spec.upstreams[0].endpoints = vec![host(addresses, "up.test", Some(&pem))];
    spec
}

#[test]
fn both_versions_are_spoken_by_name_and_resumed() {
    let (authority, identity) = known();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let told = "return 200 \"$ssl_protocol $ssl_server_name $ssl_alpn_protocol $ssl_session_reused $connection\";";
        let cache = "ssl_session_cache shared:s:1m;";
        let front = Front::start(&identity, version, cache, told).expect("nginx");
        let spec = tls_spec(&[front.address()], &authority);
        let rig = Rig::tuned(spec, |settings| {
            settings.limits.pool_idle = std::time::Duration::ZERO;
        });
        let mut said = Vec::new();
        for _ in 0..2 {
            let answer = rig.get("/");
            assert_eq!(answer.status, 200, "{answer:?}");
            said.push(String::from_utf8(answer.body).expect("text"));
        }
        let first = format!("{version} up.test http/1.1 . ");
        assert!(said[0].starts_with(&first), "{said:?}");
        let again = format!("{version} up.test http/1.1 r ");
        assert!(said[1].starts_with(&again), "{said:?}");
    }
}

#[test]
fn kept_connections_are_used_again() {
    let (authority, identity) = known();
    let front = Front::start(&identity, "TLSv1.2 TLSv1.3", "", "return 200 $connection;");
    let front = front.expect("nginx");
    let rig = Rig::start(tls_spec(&[front.address()], &authority));
    let mut seen = std::collections::HashSet::new();
    for n in 0..20 {
        let answer = if n % 2 == 0 {
            rig.get("/")
        } else {
            rig.ask(POST)
        };
        assert_eq!(answer.status, 200);
        seen.insert(answer.body);
    }
    assert_eq!(seen.len(), 1);
    assert_eq!(rig.metric("lockgate_gateway_upstream_reuses_total"), 19);
}

#[test]
fn large_bodies_pass_both_ways_unchanged() {
    let (authority, identity) = known();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = identity.server(&[version]).expect("settings");
        let upstream = scripted(config, |peer| {
            while let Some((_, body)) = peer.request() {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                peer.say(head.as_bytes());
                peer.say(&body);
            }
        });
        let rig = Rig::start(tls_spec(&[upstream.address], &authority));
        let body: Vec<u8> = (0..5_000_000_u32).map(|n| ((n * 7) >> 3) as u8).collect();
        let mut request = format!(
            "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        for _ in 0..2 {
            let answer = rig.ask(&request);
            assert!(answer.complete && answer.body == body, "{}", answer.status);
        }
        assert_eq!(upstream.connections(), 1);
    }
}

#[test]
fn a_host_is_reached_at_whichever_address_answers_and_follows_its_name() {
    let (authority, identity) = known();
    let serve = |text: &'static str| {
        let config = identity.server(&[&rustls::version::TLS13]);
        scripted(config.expect("settings"), move |peer| {
            while peer.request().is_some() {
                let length = text.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}");
                peer.say(answer.as_bytes());
            }
        })
    };
    let (old, new) = (serve("old"), serve("new"));
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let refusing = refusing.expect("a free port");
    let mut wanted = tls_spec(&[refusing, old.address], &authority);
    let rig = Rig::tuned(wanted.clone(), |settings| {
        // Age must not end what the change of addresses has to.
        settings.limits.pool_idle = std::time::Duration::from_secs(600);
    });
    for _ in 0..3 {
        assert_eq!(rig.ask(POST).body, b"old");
    }
    assert_eq!(rig.metric("lockgate_gateway_upstream_retries_total"), 0);
    assert_eq!(old.connections(), 1);

    // The kept connection stays as long as its address does, and goes with it.
    let pem = authority.pem();
    wanted.version = 2;
    let both = [old.address, new.address];
    wanted.upstreams[0].endpoints = vec![host(&both, "up.test", Some(&pem))];
    rig.publish(wanted.clone());
    assert_eq!(rig.get("/").body, b"old");
    wanted.version = 3;
    wanted.upstreams[0].endpoints = vec![host(&[new.address], "up.test", Some(&pem))];
    rig.publish(wanted);
    old.requests_after(5);
    assert_eq!(rig.get("/").body, b"new");
    assert_eq!(old.connections(), 1);
}

/// Runs `script` after the handshake of every connection.
fn server(
    identity: &Identity,
    script: impl Fn(&mut TlsPeer<'_>) + Send + Sync + 'static,
) -> crate::support::Scripted {
    let both = [&rustls::version::TLS12, &rustls::version::TLS13];
    scripted(identity.server(&both).expect("settings"), script)
}
