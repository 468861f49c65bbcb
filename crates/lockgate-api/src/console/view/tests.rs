//! Words for routes, and minutes with and without requests.

use lockgate_model::gateway::{FieldMatch, TimeoutPolicy};

use super::*;

fn rollup(route: &str, minute: i64, requests: u64) -> Rollup {
    let mut latency = super::super::figures::Buckets::default();
    latency[1] = requests;
    Rollup {
        route: route.into(),
        minute,
        requests,
        errors: requests / 4,
        latency,
    }
}

#[test]
fn a_route_says_what_it_takes_and_what_came() {
    let backend = |upstream: &str, weight| lockgate_model::gateway::BackendSpec {
        upstream: upstream.into(),
        tls: Default::default(),
        weight,
    };
    let mut route = RouteSpec {
        name: "shop/dev/web".into(),
        matches: RouteMatch {
            hosts: vec!["web.example.org".into()],
            paths: vec![
                PathMatch::Prefix("/a".into()),
                PathMatch::Exact("/b".into()),
                PathMatch::Regex("/c.*".into()),
            ],
            methods: vec!["GET".into(), "PUT".into()],
            headers: vec![FieldMatch {
                name: "x-a".into(),
                value: None,
            }],
            query: Vec::new(),
        },
        backends: vec![
            backend("service://shop/dev/web", 3),
            backend("http://old", 1),
        ],
        strip_prefix: None,
        auth: AuthPolicy::ApiKey {
            header: "x-api-key".into(),
            consumers: vec!["shop/dev/me".into()],
        },
        rate_limit: Some(RateLimitPolicy {
            requests: 1200,
            per: Duration::from_secs(60),
            burst: 5,
        }),
        timeouts: TimeoutPolicy::default(),
        body_bytes_max: None,
        ai: None,
    };
    let hour = rollup("shop/dev/web", 0, 2000);
    let row = RouteRow::new(&route, &BTreeMap::from([("shop/dev/web", &hour)]));
    assert_eq!(
        row.takes,
        "GET, PUT web.example.org /a/…, /b, ~ /c.* + 1 header or query conditions"
    );
    assert_eq!(
        row.backends,
        ["service://shop/dev/web (75.0 %)", "http://old (25.0 %)"]
    );
    assert_eq!(row.callers, "API keys of shop/dev/me");
    assert_eq!(row.limit, "1,200 / min each");
    assert_eq!(
        (row.requests.as_str(), row.errors.as_str()),
        ("2,000", "500")
    );
    assert_eq!(row.p95, "≤ 3 ms");

    route.matches = RouteMatch::default();
    route.backends.truncate(1);
    route.auth = AuthPolicy::Public;
    route.rate_limit = None;
    let row = RouteRow::new(&route, &BTreeMap::new());
    assert_eq!(row.takes, "every request");
    assert_eq!(row.backends, ["service://shop/dev/web"]);
    assert_eq!(
        (row.callers.as_str(), row.limit.as_str()),
        ("anybody", "none")
    );
    assert_eq!((row.requests.as_str(), row.p95.as_str()), ("0", "–"));
}

#[test]
fn the_hour_has_every_minute_and_the_running_one_is_measured_by_its_age() {
    let now = 1_000 * 60 + 30;
    let rows = minute_rows(&[rollup("", 1_000, 60), rollup("", 998, 60)], now, 60);
    assert_eq!(rows.len(), 60);
    assert_eq!(rows[59].at, 941 * 60);
    let told = |row: &MinuteRow| (row.at / 60, row.running, row.rate.clone(), row.p95.clone());
    assert_eq!(
        told(&rows[0]),
        (1_000, true, "2.00".into(), "≤ 3 ms".into())
    );
    assert_eq!(told(&rows[1]), (999, false, "0.00".into(), "–".into()));
    assert_eq!(told(&rows[2]), (998, false, "1.00".into(), "≤ 3 ms".into()));
    assert_eq!(rows[0].time, "16:40");
    assert_eq!(rows[0].heights, ["3", "3", "3"]);
    assert_eq!(rows[1].heights, ["", "", ""]);
    let young = minute_rows(&[rollup("", 1_000, 60)], 1_000 * 60 + 1, 1);
    assert_eq!(young[0].rate, "6.00");
}
