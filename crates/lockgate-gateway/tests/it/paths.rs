//! One normal form of a path, and which route takes a request.

use lockgate_model::gateway::{FieldMatch, PathMatch, RouteSpec};

use crate::support::{Rig, Scripted, route, spec};

#[test]
fn the_normal_form_is_matched_and_forwarded() {
    let upstream = Scripted::echo();
    let rig = Rig::start(spec(1, vec![route("a", "/a")], &[upstream.address]));
    for (sent, forwarded) in [
        ("/a", "/a"),
        ("/%61/%7Ex", "/a/~x"),
        ("/b/../a/./c", "/a/c"),
        ("//a///c", "/a/c"),
        ("/a/%e4%2a", "/a/%E4%2A"),
        ("/x/%2e%2E/a/", "/a/"),
        ("/../a?q=/../%2e;//", "/a?q=/../%2e;//"),
    ] {
        let answer = rig.get(sent);
        assert_eq!(answer.status, 200, "{sent}");
        let seen = upstream.requests().pop().expect("a request");
        assert!(
            seen.starts_with(&format!("GET {forwarded} HTTP/1.1\r\n")),
            "{sent}: {seen}"
        );
    }
}

#[test]
fn paths_with_two_meanings_are_refused() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    for path in [
        "/a%2fb", "/a%5Cb", "/a\\b", "/a;b", "/a%3bb", "/a%", "/a%2", "/a%zz", "/%00",
    ] {
        let answer = rig.get(path);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "bad_target"),
            "{path}"
        );
    }
    assert_eq!(upstream.requests(), Vec::<String>::new());
}

#[test]
fn dot_segments_do_not_lead_around_a_policy() {
    let upstream = Scripted::echo();
    let rig = Rig::start(spec(
        1,
        vec![
            route("open", "/open"),
            crate::support::with_key(route("closed", "/closed")),
        ],
        &[upstream.address],
    ));
    for path in [
        "/open/../closed",
        "/open/%2e%2e/closed",
        "/open/..//closed",
        "/clos%65d",
    ] {
        assert_eq!(rig.get(path).status, 401, "{path}");
    }
}

fn named(name: &str, change: impl FnOnce(&mut RouteSpec)) -> RouteSpec {
    let mut route = route(name, "/");
    change(&mut route);
    route
}

fn field(name: &str, value: Option<&str>) -> FieldMatch {
    FieldMatch {
        name: name.into(),
        value: value.map(Into::into),
    }
}

#[test]
fn precedence_is_host_then_path_then_conditions() {
    let upstream = Scripted::echo();
    let paths = |list: &[PathMatch]| list.to_vec();
    let routes = vec![
        named("any", |_| {}),
        named("prefix", |r| {
            r.matches.paths = paths(&[PathMatch::Prefix("/a".into())])
        }),
        named("longer", |r| {
            r.matches.paths = paths(&[PathMatch::Prefix("/a/b/".into())])
        }),
        named("exact", |r| {
            r.matches.paths = paths(&[PathMatch::Exact("/a/b".into())])
        }),
        named("regex", |r| {
            r.matches.paths = paths(&[PathMatch::Regex("/r[0-9]+".into())])
        }),
        named("post", |r| {
            r.matches.paths = paths(&[PathMatch::Prefix("/a".into())]);
            r.matches.methods = vec!["POST".into()];
        }),
        named("header", |r| {
            r.matches.paths = paths(&[PathMatch::Prefix("/a".into())]);
            r.matches.headers = vec![field("x-one", Some("1"))];
        }),
        named("query", |r| {
            r.matches.paths = paths(&[PathMatch::Prefix("/a".into())]);
            r.matches.query = vec![field("q", None)];
        }),
        named("host", |r| r.matches.hosts = vec!["h.example.org".into()]),
        named("wild", |r| r.matches.hosts = vec!["*.example.org".into()]),
        named("wilder", |r| {
            r.matches.hosts = vec!["*.w.example.org".into()]
        }),
    ];
    let mut rig = Rig::start(spec(1, routes, &[upstream.address]));
    for (method, host, path, extra, wanted) in [
        ("GET", "t", "/", "", "any"),
        ("GET", "t", "/ab", "", "any"),
        ("GET", "t", "/a", "", "prefix"),
        ("GET", "t", "/a/", "", "prefix"),
        ("GET", "t", "/a/bc", "", "prefix"),
        ("GET", "t", "/a/b", "", "exact"),
        ("GET", "t", "/a/b/", "", "longer"),
        ("GET", "t", "/a/b/c", "", "longer"),
        ("GET", "t", "/r12", "", "any"),
        ("POST", "t", "/a", "x-one: 1\r\n", "post"),
        ("GET", "t", "/a", "x-one: 2\r\nX-One: 1\r\n", "header"),
        ("GET", "t", "/a?x=1&q=2", "", "query"),
        ("GET", "H.example.org:80", "/a/b", "", "host"),
        ("GET", "x.example.org", "/a/b", "", "wild"),
        ("GET", "x.w.example.org", "/", "", "wilder"),
        ("GET", "example.org", "/", "", "any"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{extra}\r\n");
        assert_eq!(rig.ask(request.as_bytes()).status, 200);
        let record = rig.record();
        assert_eq!(record.route.as_deref(), Some(wanted), "{request}");
    }
}

#[test]
fn a_regex_is_anchored_and_comes_after_prefixes() {
    let upstream = Scripted::echo();
    let rig = Rig::start(spec(
        1,
        vec![
            named("r", |r| {
                r.matches.paths = vec![PathMatch::Regex("/r[0-9]+".into())]
            }),
            route("p", "/r7"),
        ],
        &[upstream.address],
    ));
    assert_eq!(rig.get("/r12").status, 200);
    assert_eq!(rig.get("/r12/x").status, 404);
    assert_eq!(rig.get("/x/r12").status, 404);
    assert_eq!(rig.get("/r7/x").status, 200);
}

#[test]
fn a_wrong_method_names_the_right_ones() {
    let upstream = Scripted::echo();
    let rig = Rig::start(spec(
        1,
        vec![
            named("a", |r| {
                r.matches.methods = vec!["PUT".into(), "GET".into()]
            }),
            named("b", |r| {
                r.matches.methods = vec!["GET".into(), "HEAD".into()]
            }),
        ],
        &[upstream.address],
    ));
    let answer = rig.ask(b"DELETE / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(answer.reason(), "method_not_allowed");
    assert_eq!(answer.field("allow"), Some("GET, HEAD, PUT"));
}

#[test]
fn a_prefix_is_stripped_by_whole_segments() {
    let upstream = Scripted::echo();
    let mut stripped = route("s", "/api");
    stripped.strip_prefix = Some("/api/".into());
    let rig = Rig::start(spec(1, vec![stripped], &[upstream.address]));
    for (sent, forwarded) in [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api/x?y", "/x?y"),
        ("/api/api/x", "/api/x"),
    ] {
        assert_eq!(rig.get(sent).status, 200);
        let seen = upstream.requests().pop().expect("a request");
        assert!(
            seen.starts_with(&format!("GET {forwarded} HTTP/1.1\r\n")),
            "{sent}: {seen}"
        );
    }
    assert_eq!(rig.get("/apix").status, 404);
}

#[test]
fn weights_share_requests_between_backends() {
    let (one, two) = (Scripted::echo(), Scripted::echo());
    let mut wanted = spec(1, vec![route("r", "/")], &[one.address]);
    let mut other = wanted.upstreams[0].clone();
    other.name = "other".into();
    other.endpoints = vec![lockgate_model::gateway::EndpointSpec::Tcp(two.address)];
    wanted.upstreams.push(other);
    wanted.routes[0].backends[0].weight = 3;
    wanted.routes[0]
        .backends
        .push(lockgate_model::gateway::BackendSpec {
            upstream: "other".into(),
            tls: Default::default(),
            weight: 1,
        });
    let rig = Rig::start(wanted);
    for _ in 0..20 {
        assert_eq!(rig.get("/").status, 200);
    }
    assert_eq!((one.requests().len(), two.requests().len()), (15, 5));
}
