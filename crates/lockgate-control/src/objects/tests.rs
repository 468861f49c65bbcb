//! The URL of a route as clients are told it.

use lockgate_model::gateway::{AuthPolicy, RouteMatch, TimeoutPolicy};

use super::*;

#[test]
fn a_routes_url_takes_its_first_plain_host_and_path() {
    let prefix = |path: &str| PathMatch::Prefix(path.into());
    let regex = PathMatch::Regex("/x.*".into());
    for (hosts, paths, url) in [
        (vec![], vec![], "http://127.0.0.1:8080/"),
        (vec![], vec![regex, prefix("/a")], "http://127.0.0.1:8080/a"),
        (
            vec!["*.b.org", "c.org"],
            vec![prefix("/")],
            "http://c.org:8080/",
        ),
    ] {
        let route = RouteSpec {
            name: "p/s/r".into(),
            matches: RouteMatch {
                hosts: hosts.into_iter().map(String::from).collect(),
                paths,
                ..RouteMatch::default()
            },
            backends: Vec::new(),
            strip_prefix: None,
            auth: AuthPolicy::Public,
            rate_limit: None,
            timeouts: TimeoutPolicy::default(),
            body_bytes_max: None,
            ai: None,
        };
        assert_eq!(route_url("http://127.0.0.1:8080", &route), url);
    }
}
