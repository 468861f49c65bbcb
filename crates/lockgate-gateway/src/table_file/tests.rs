//! What is written reads back; what is not whole is refused.

use lockgate_diag::Secret;
use lockgate_model::ai::{AiPolicy, BaseUrl, VendorSpec};
use lockgate_model::gateway::{
    ApiKeySpec, AuthPolicy, BackendSpec, ConsumerSpec, EndpointSpec, FieldMatch, GatewaySpec,
    HostSpec, PathMatch, RateLimitPolicy, RouteMatch, RouteSpec, TimeoutPolicy, TlsSpec,
    UpstreamSpec,
};

use super::*;

fn name(text: &str) -> ServerIdentity {
    ServerIdentity::parse(text).expect("a name")
}

fn root() -> CaCertificates {
    CaCertificates::parse(include_str!("tests/root.pem")).expect("a certificate")
}

fn full() -> GatewaySpec {
    GatewaySpec {
        version: 12,
        routes: vec![RouteSpec {
            name: "p/s/r".into(),
            matches: RouteMatch {
                hosts: vec!["*.example.org".into()],
                paths: vec![
                    PathMatch::Exact("/a".into()),
                    PathMatch::Prefix("/b".into()),
                    PathMatch::Regex("/c+".into()),
                ],
                methods: vec!["GET".into()],
                headers: vec![FieldMatch {
                    name: "x".into(),
                    value: Some("1".into()),
                }],
                query: vec![FieldMatch {
                    name: "q".into(),
                    value: None,
                }],
            },
            backends: vec![BackendSpec {
                upstream: "u".into(),
                tls: TlsSettings {
                    server_name: Some(name("u.example.org")),
                    ca_certificates: Some(root()),
                },
                weight: 3,
            }],
            strip_prefix: Some("/b".into()),
            auth: AuthPolicy::ApiKey {
                header: "x-api-key".into(),
                consumers: vec!["c".into()],
            },
            rate_limit: Some(RateLimitPolicy {
                requests: 5,
                per: Duration::from_millis(1500),
                burst: 9,
            }),
            timeouts: TimeoutPolicy {
                total: Some(Duration::from_secs(9)),
                ..TimeoutPolicy::default()
            },
            body_bytes_max: Some(77),
            ai: None,
        }],
        consumers: vec![ConsumerSpec { name: "c".into() }],
        api_keys: vec![ApiKeySpec {
            id: "0123456789abcdef".into(),
            consumer: "c".into(),
            hash: [0xab; 32],
            enabled: false,
        }],
        upstreams: vec![UpstreamSpec {
            name: "u".into(),
            endpoints: vec![
                EndpointSpec::Tcp("[::1]:80".parse().expect("an address")),
                EndpointSpec::Handed {
                    instance: "i".into(),
                    port: 8080,
                },
                EndpointSpec::Host(HostSpec {
                    authority: "example.org:443".into(),
                    addresses: vec!["192.0.2.1:443".parse().expect("an address")],
                    tls: Some(TlsSpec {
                        server_name: name("192.0.2.1"),
                        ca_certificates: Some(root()),
                    }),
                }),
            ],
        }],
        ai: Default::default(),
    }
}

#[test]
fn a_table_reads_back_as_it_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table");
    assert_eq!(load(&path), Ok(None));
    for spec in [full(), GatewaySpec::default()] {
        save(&path, &spec).expect("written");
        assert_eq!(load(&path), Ok(Some(spec)));
    }
}

/// Format 1 must stay readable: this is what the first version wrote.
#[test]
fn format_1_is_as_it_was() {
    let body = r#"{"version":1,"routes":[{"name":"r","matches":{"hosts":[],"paths":[{"prefix":"/"}],"methods":[],"headers":[],"query":[]},"backends":[{"upstream":"u","weight":1}],"strip_prefix":null,"auth":"public","rate_limit":null,"timeouts":{"connect":5000000000,"head":30000000000,"idle":60000000000,"total":null},"body_bytes_max":null}],"consumers":[],"api_keys":[],"upstreams":[{"name":"u","endpoints":[{"tcp":"127.0.0.1:80"}]}]}"#;
    let digest = hex::encode(Sha256::digest(body));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table");
    fs_err::write(&path, format!("lockgate-table 1 {digest}\n{body}")).expect("written");
    let read = load(&path).expect("readable").expect("a table");
    assert_eq!(read.routes[0].name, "r");
    save(&path, &read).expect("written");
    // What needs nothing of the second format differs by its number only.
    let again = fs_err::read_to_string(&path).expect("a file");
    assert_eq!(again, format!("lockgate-table 2 {digest}\n{body}"));
}

#[test]
fn every_torn_byte_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table");
    save(&path, &full()).expect("written");
    let whole = fs_err::read(&path).expect("a file");
    for at in (0..whole.len()).step_by(7) {
        let mut torn = whole.clone();
        torn[at] ^= 1;
        fs_err::write(&path, &torn).expect("written");
        let found = load(&path).expect_err("a changed byte is noticed");
        assert_eq!(found.code, codes::TABLE_FILE);
        fs_err::write(&path, &whole[..at]).expect("written");
        assert!(load(&path).is_err(), "cut at {at}");
    }
}

#[test]
fn an_ai_route_is_stored_as_one_that_nothing_serves_and_without_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table");
    let mut wanted = full();
    wanted.routes[0].backends.clear();
    wanted.routes[0].ai = Some(AiPolicy {
        models: vec!["p/s/m".into()],
    });
    wanted.ai.vendors.push(VendorSpec {
        name: "p/s/v".into(),
        base_url: BaseUrl::parse("http://127.0.0.1:9").expect("a URL"),
        tls: TlsSettings::default(),
        key: Some(Secret::new("canary".to_owned())),
        prices: String::new(),
    });
    save(&path, &wanted).expect("written");
    let text = fs_err::read_to_string(&path).expect("read");
    assert!(!text.contains("canary"));
    let stored = load(&path).expect("understood").expect("there");
    assert_eq!(stored.routes[0].ai, None);
    assert_eq!(stored.routes[0].matches, wanted.routes[0].matches);
    let upstream = &stored.routes[0].backends[0].upstream;
    let found = stored.upstreams.iter().find(|u| &u.name == upstream);
    assert_eq!(found.map(|u| u.endpoints.len()), Some(0));
}
