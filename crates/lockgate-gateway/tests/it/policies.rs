//! Who may call, how often, and what the upstream learns about it.

use std::time::Duration;

use lockgate_model::gateway::{AuthPolicy, RateLimitPolicy};

use crate::support::{Client, Rig, Scripted, key_text, route, spec, with_key};

fn get(path: &str, key: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nX-Api-Key: {key}\r\n\r\n").into_bytes()
}

#[test]
fn a_valid_key_reaches_the_upstream_with_its_consumer_and_without_the_key() {
    let upstream = Scripted::echo();
    let mut rig = Rig::start(spec(
        7,
        vec![with_key(route("r", "/a"))],
        &[upstream.address],
    ));
    let answer = rig.ask(&get("/a/b?x=1", &key_text(1)));
    assert_eq!(answer.status, 200);
    let request = &upstream.requests()[0];
    assert!(
        request.starts_with("GET /a/b?x=1 HTTP/1.1\r\nhost: test\r\n"),
        "{request}"
    );
    for line in [
        "x-consumer-id: alice\r\n",
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-forwarded-proto: http\r\n",
        "x-forwarded-host: test\r\n",
    ] {
        assert!(request.contains(line), "{line} in {request}");
    }
    assert!(!request.contains("lgk_"), "{request}");
    let id = answer.field("x-request-id").expect("an id");
    assert!(request.contains(&format!("x-request-id: {id}\r\n")));
    let record = rig.record();
    assert_eq!(record.id, id);
    assert_eq!(
        (record.table_version, record.status, record.attempts),
        (7, 200, 1)
    );
    assert_eq!(record.route.as_deref(), Some("r"));
    assert_eq!(record.consumer.as_deref(), Some("alice"));
    assert_eq!(record.api_key.as_deref(), Some("0000000000000001"));
    assert_eq!(record.path, "/a/b");
    assert_eq!(record.client, "127.0.0.1");
    assert_eq!(record.response_bytes, request.len() as u64);
}

#[test]
fn callers_without_a_valid_key_are_refused() {
    let upstream = Scripted::echo();
    let mut restricted = with_key(route("only-bob", "/bob"));
    restricted.auth = AuthPolicy::ApiKey {
        header: "authorization".into(),
        consumers: vec!["bob".into()],
    };
    let mut wanted = spec(
        1,
        vec![with_key(route("r", "/a")), restricted],
        &[upstream.address],
    );
    wanted.api_keys[1].enabled = false;
    let rig = Rig::start(wanted);
    let unknown = key_text(99);
    let other_secret = key_text(1).replace("0101", "0102");
    for (request, status, reason) in [
        (get("/a", ""), 401, "unauthenticated"),
        (get("/a", "lgk_x"), 401, "unauthenticated"),
        (get("/a", &unknown), 401, "unauthenticated"),
        (get("/a", &other_secret), 401, "unauthenticated"),
        (get("/a", &key_text(2)), 401, "unauthenticated"),
        (
            format!(
                "GET /bob HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {}\r\n\r\n",
                key_text(1)
            )
            .into_bytes(),
            403,
            "forbidden",
        ),
        (
            format!(
                "GET /a HTTP/1.1\r\nhost: t\r\nx-api-key: {0}\r\nX_Api_Key: {0}\r\n\r\n",
                key_text(1)
            )
            .into_bytes(),
            400,
            "bad_field",
        ),
    ] {
        let answer = rig.ask(&request);
        let shown = String::from_utf8_lossy(&request).into_owned();
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (status, reason),
            "{shown}"
        );
    }
    assert_eq!(upstream.requests(), Vec::<String>::new());
    let ok = rig.ask(
        format!(
            "GET /bob HTTP/1.1\r\nhost: t\r\nauthorization: bearer {}\r\n\r\n",
            key_text(3)
        )
        .as_bytes(),
    );
    assert_eq!(ok.status, 200);
    assert!(!upstream.requests()[0].contains("lgk_"));
}

#[test]
fn identity_from_outside_is_replaced_in_every_spelling() {
    let upstream = Scripted::echo();
    let rig = Rig::before(&upstream);
    rig.ask(
        b"GET / HTTP/1.1\r\nhost: t\r\nX-Consumer-Id: evil\r\nx_consumer_id: evil\r\n\
          X-Forwarded-For: evil\r\nX_FORWARDED_FOR: evil\r\nForwarded: for=evil\r\n\
          X-Request-ID: evil\r\nX-Forwarded-Port: evil\r\nX-Real-IP: evil\r\nX-Other: kept\r\n\r\n",
    );
    let request = &upstream.requests()[0];
    assert!(!request.contains("evil"), "{request}");
    assert!(request.contains("X-Other: kept\r\n"), "{request}");
}

#[test]
fn a_parallel_burst_of_all_keys_of_one_consumer_admits_exactly_the_burst() {
    let upstream = Scripted::echo();
    let mut limited = with_key(route("r", "/"));
    limited.rate_limit = Some(RateLimitPolicy {
        requests: 1,
        per: Duration::from_secs(3600),
        burst: 25,
    });
    let rig = Rig::tuned(spec(1, vec![limited], &[upstream.address]), |s| {
        s.workers = 2
    });
    let address = rig.address;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    (0..10)
                        .map(|_| {
                            client.send(&get("/", &key_text(1 + n % 2)));
                            client.answer().status
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().expect("no thread panics"))
            .collect()
    });
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 25);
    assert_eq!(statuses.iter().filter(|s| **s == 429).count(), 55);
    assert_eq!(upstream.requests().len(), 25);
    let answer = rig.ask(&get("/", &key_text(1)));
    assert_eq!(answer.reason(), "limited");
    let wait: u64 = answer
        .field("retry-after")
        .expect("a wait")
        .parse()
        .expect("seconds");
    assert!((3590..=3600).contains(&wait), "{wait}");
    assert_eq!(
        answer.field("ratelimit-policy"),
        Some("\"route\";q=25;w=90000")
    );
    assert_eq!(
        answer.field("ratelimit"),
        Some(format!("\"route\";r=0;t={wait}").as_str())
    );
    // Another consumer has a bucket of its own.
    assert_eq!(rig.ask(&get("/", &key_text(3))).status, 200);
}

#[test]
fn a_new_table_does_not_refill_a_limit() {
    let upstream = Scripted::echo();
    let mut limited = with_key(route("r", "/"));
    limited.rate_limit = Some(RateLimitPolicy {
        requests: 1,
        per: Duration::from_secs(3600),
        burst: 1,
    });
    let wanted = spec(1, vec![limited], &[upstream.address]);
    let rig = Rig::start(wanted.clone());
    assert_eq!(rig.ask(&get("/", &key_text(1))).status, 200);
    // Its consumer now stands elsewhere in the table, and another key is used.
    let mut next = wanted;
    next.version = 2;
    next.consumers.reverse();
    rig.publish(next);
    assert_eq!(rig.ask(&get("/", &key_text(2))).status, 429);
    assert_eq!(rig.ask(&get("/", &key_text(3))).status, 200);
}

#[test]
fn public_routes_are_limited_by_client_network() {
    let upstream = Scripted::echo();
    let mut limited = route("r", "/");
    limited.rate_limit = Some(RateLimitPolicy {
        requests: 1,
        per: Duration::from_secs(3600),
        burst: 2,
    });
    let rig = Rig::start(spec(1, vec![limited], &[upstream.address]));
    let statuses: Vec<u16> = (0..3).map(|_| rig.get("/").status).collect();
    assert_eq!(statuses, [200, 200, 429]);
}
