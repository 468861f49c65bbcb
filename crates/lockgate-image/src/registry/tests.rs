//! The pure parts: challenges, locations, hosts.

use super::challenge::{Challenge, parse};
use super::transport::{is_loopback, resolve_location};

#[test]
fn challenges_are_read_as_servers_write_them() {
    let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    };
    for (header, expected) in [
        ("Basic realm=\"a registry\"", Some(Challenge::Basic)),
        (
            r#"Bearer realm="https://a.example/token",service="r",scope="repository:a/b:pull,push""#,
            bearer(
                "https://a.example/token",
                Some("r"),
                Some("repository:a/b:pull,push"),
            ),
        ),
        (
            r#"bearer realm = "https://a.example/t\"x" , service=r"#,
            bearer("https://a.example/t\"x", Some("r"), None),
        ),
        (
            r#"Basic realm="x", Bearer realm="https://a.example/t""#,
            bearer("https://a.example/t", None, None),
        ),
        ("Basic", Some(Challenge::Basic)),
        ("Bearer service=\"no realm\"", None),
        ("Negotiate", None),
        ("Bearer realm=\"open", bearer("open", None, None)),
        ("", None),
        (",,,", None),
    ] {
        assert_eq!(parse(header), expected, "{header}");
    }
}

#[test]
fn a_location_keeps_its_query_and_may_be_relative() {
    let base = "http://127.0.0.1:5000/v2/a/b/blobs/uploads/?x=1";
    for (location, expected) in [
        (
            "https://c.example/u?_state=A%3D",
            Some("https://c.example/u?_state=A%3D"),
        ),
        ("/v2/u/1?s=2", Some("http://127.0.0.1:5000/v2/u/1?s=2")),
        (
            "1?s=2",
            Some("http://127.0.0.1:5000/v2/a/b/blobs/uploads/1?s=2"),
        ),
        ("//c.example/u", Some("http://c.example/u")),
        ("http://", None),
    ] {
        let resolved = resolve_location(base, location);
        assert_eq!(resolved.as_deref(), expected, "{location}");
    }
}

#[test]
fn only_this_machine_is_loopback() {
    for host in [
        "localhost",
        "localhost:5000",
        "127.0.0.1",
        "127.9.9.9:1",
        "[::1]:5000",
        "[::1]",
    ] {
        assert!(is_loopback(host), "{host}");
    }
    for host in [
        "127.0.0.1.example.org",
        "localhost.example.org:80",
        "10.0.0.1",
        "",
        "::",
        "0.0.0.0",
    ] {
        assert!(!is_loopback(host), "{host}");
    }
}
