//! One spec, one mistake each: the diagnostic names it.

use std::time::Duration;

use lockgate_model::gateway::{
    ApiKeySpec, BackendSpec, ConsumerSpec, FieldMatch, RateLimitPolicy, RouteMatch, TimeoutPolicy,
    UpstreamSpec,
};

use super::*;

fn route(name: &str, path: &str) -> RouteSpec {
    RouteSpec {
        name: name.into(),
        matches: RouteMatch {
            paths: vec![PathMatch::Prefix(path.into())],
            ..RouteMatch::default()
        },
        backends: vec![BackendSpec {
            upstream: "up".into(),
            tls: Default::default(),
            weight: 1,
        }],
        strip_prefix: None,
        auth: AuthPolicy::Public,
        rate_limit: None,
        timeouts: TimeoutPolicy::default(),
        body_bytes_max: None,
        ai: None,
    }
}

fn good() -> GatewaySpec {
    GatewaySpec {
        version: 1,
        routes: vec![route("r", "/")],
        consumers: vec![ConsumerSpec { name: "c".into() }],
        api_keys: vec![ApiKeySpec {
            id: "0123456789abcdef".into(),
            consumer: "c".into(),
            hash: [1; 32],
            enabled: true,
        }],
        upstreams: vec![UpstreamSpec {
            name: "up".into(),
            endpoints: Vec::new(),
        }],
        ai: Default::default(),
    }
}

#[test]
fn a_good_spec_has_no_findings() {
    assert_eq!(check(&good()), Vec::new());
    assert_eq!(check(&GatewaySpec::default()), Vec::new());
}

#[test]
fn every_mistake_has_its_code() {
    type Break = fn(&mut GatewaySpec);
    let cases: &[(&str, Break)] = &[
        ("LG0501", |s| s.routes.push(route("r", "/x"))),
        ("LG0501", |s| s.upstreams.push(s.upstreams[0].clone())),
        ("LG0501", |s| s.api_keys.push(s.api_keys[0].clone())),
        ("LG0502", |s| {
            s.routes[0].backends[0].upstream = "down".into()
        }),
        ("LG0503", |s| s.api_keys[0].consumer = "d".into()),
        ("LG0503", |s| {
            s.routes[0].auth = AuthPolicy::ApiKey {
                header: "x-api-key".into(),
                consumers: vec!["d".into()],
            };
        }),
        ("LG0504", |s| {
            s.routes[0].matches.hosts = vec!["A.example".into()]
        }),
        ("LG0504", |s| {
            s.routes[0].matches.hosts = vec!["a:80".into()]
        }),
        ("LG0504", |s| s.routes[0].matches.hosts = vec!["*".into()]),
        ("LG0504", |s| {
            s.routes[0].matches.hosts = vec!["*a.example".into()]
        }),
        ("LG0505", |s| {
            s.routes[0].matches.paths = vec![PathMatch::Exact("a".into())]
        }),
        ("LG0505", |s| {
            s.routes[0].matches.paths = vec![PathMatch::Prefix("/a/../b".into())]
        }),
        ("LG0505", |s| {
            s.routes[0].matches.paths = vec![PathMatch::Prefix("/%61".into())]
        }),
        ("LG0505", |s| {
            s.routes[0].matches.paths = vec![PathMatch::Regex("(".into())]
        }),
        ("LG0505", |s| s.routes[0].strip_prefix = Some("/a".into())),
        ("LG0506", |s| {
            s.routes[0].matches.methods = vec!["get".into()]
        }),
        ("LG0506", |s| {
            s.routes[0].matches.headers = vec![FieldMatch {
                name: "X".into(),
                value: None,
            }];
        }),
        ("LG0507", |s| {
            s.routes[0].rate_limit = Some(RateLimitPolicy {
                requests: 0,
                per: Duration::from_secs(1),
                burst: 1,
            });
        }),
        ("LG0508", |s| s.routes[0].backends.clear()),
        ("LG0508", |s| s.routes[0].backends[0].weight = 0),
        ("LG0509", |s| {
            s.routes[0].timeouts.total = Some(Duration::ZERO)
        }),
        ("LG0512", |s| s.api_keys[0].id = "0123456789ABCDEF".into()),
        ("LG0513", |s| {
            s.routes[0].matches.paths = vec![PathMatch::Exact("/a".repeat(70))];
        }),
        ("LG0514", |s| {
            s.routes[0].auth = AuthPolicy::ApiKey {
                header: "host".into(),
                consumers: Vec::new(),
            };
        }),
    ];
    for (at, (code, change)) in cases.iter().enumerate() {
        let mut spec = good();
        change(&mut spec);
        let (table, found) = compile(&spec, &mut State::new(1));
        let codes: Vec<&str> = found.iter().map(|d| d.code.as_str()).collect();
        assert_eq!(codes, [*code], "case {at}: {found:?}");
        assert!(table.is_none(), "case {at}");
    }
}

#[test]
fn a_route_that_never_matches_is_warned_about_and_served() {
    let mut spec = good();
    spec.routes.push(route("z", "/"));
    spec.routes.push(route("narrow", "/"));
    spec.routes[2].matches.methods = vec!["GET".into()];
    let (table, found) = compile(&spec, &mut State::new(1));
    assert!(table.is_some());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, codes::ROUTE_NEVER_MATCHES);
    assert!(found[0].message.contains("`z`"), "{}", found[0].message);
}

#[test]
fn unknown_names_come_with_a_guess() {
    let mut spec = good();
    spec.upstreams[0].name = "service://a/b/web".into();
    spec.routes[0].backends[0].upstream = "service://a/b/wbe".into();
    assert_eq!(check(&spec)[0].hints, ["write `service://a/b/web`"]);
}

#[test]
fn endpoints_and_slots_keep_their_identity_over_tables() {
    let mut state = State::new(1);
    let mut spec = good();
    spec.consumers.insert(0, ConsumerSpec { name: "b".into() });
    spec.upstreams[0].endpoints = vec!["127.0.0.1:1", "127.0.0.1:2"]
        .into_iter()
        .map(|a| lockgate_model::gateway::EndpointSpec::Tcp(a.parse().expect("an address")))
        .collect();
    let first = compile(&spec, &mut state).0.expect("a table");
    spec.consumers.reverse();
    spec.upstreams[0].endpoints.remove(0);
    let second = compile(&spec, &mut state).0.expect("a table");
    assert_eq!(first.consumers[0].slot, second.consumers[1].slot);
    assert_eq!(
        first.upstreams[0].endpoints[1].id,
        second.upstreams[0].endpoints[0].id
    );
    // A removed endpoint that comes back is a new one: its old connections are gone.
    spec.upstreams[0].endpoints.insert(
        0,
        lockgate_model::gateway::EndpointSpec::Tcp("127.0.0.1:1".parse().expect("an address")),
    );
    let third = compile(&spec, &mut state).0.expect("a table");
    assert_ne!(
        first.upstreams[0].endpoints[0].id,
        third.upstreams[0].endpoints[0].id
    );
}
