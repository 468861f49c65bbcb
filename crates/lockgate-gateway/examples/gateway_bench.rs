//! The gateway that `cargo xtask bench gateway` measures: one worker, 10,000 keys, 100 prefix
//! routes, a limit per key, an access log. Started as
//! `gateway_bench LISTEN UPSTREAM FOLDER [CA]`, where CA is a file of certificates that makes it speak
//! TLS to the upstream, it prints `ready` and a valid key, and drains
//! when its standard input ends.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own: the system's clock, and its output is its interface"
)]

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockgate_diag::Secret;
use lockgate_gateway::{Dial, Gateway, GatewaySettings, Limits, key_hash};
use lockgate_model::gateway::{
    ApiKeySpec, AuthPolicy, BackendSpec, ConsumerSpec, EndpointSpec, GatewaySpec, HostSpec,
    PathMatch, RateLimitPolicy, RouteMatch, RouteSpec, TimeoutPolicy, TlsSpec, UpstreamSpec,
};
use lockgate_model::tls::{CaCertificates, ServerIdentity};
use lockgate_model::{Clock, Rng, Timestamp};

const KEYS: u64 = 10_000;
const ROUTES: u64 = 100;
const HASH_KEY: [u8; 32] = [42; 32];

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct FixedRng;

impl Rng for FixedRng {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

struct NoDial;

#[async_trait::async_trait]
impl Dial for NoDial {
    async fn dial(&self, _: &str, _: u16) -> std::io::Result<TcpStream> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

fn key_text(n: u64) -> String {
    format!("lgk_{n:016x}_{n:064x}")
}

/// The upstream, by TLS when there are certificates to trust.
fn endpoint(upstream: SocketAddr, ca: Option<&str>) -> Result<EndpointSpec, String> {
    let Some(ca) = ca else {
        return Ok(EndpointSpec::Tcp(upstream));
    };
    Ok(EndpointSpec::Host(HostSpec {
        authority: upstream.to_string(),
        addresses: vec![upstream],
        tls: Some(TlsSpec {
            server_name: ServerIdentity::parse(&upstream.ip().to_string())?,
            ca_certificates: Some(CaCertificates::parse(ca)?),
        }),
    }))
}

fn spec(endpoint: EndpointSpec) -> GatewaySpec {
    let route = |n: u64| RouteSpec {
        name: format!("bench/main/svc{n:03}"),
        matches: RouteMatch {
            paths: vec![PathMatch::Prefix(format!("/svc{n:03}"))],
            ..RouteMatch::default()
        },
        backends: vec![BackendSpec {
            upstream: "up".into(),
            tls: Default::default(),
            weight: 1,
        }],
        strip_prefix: None,
        auth: AuthPolicy::ApiKey {
            header: "x-api-key".into(),
            consumers: Vec::new(),
        },
        rate_limit: Some(RateLimitPolicy {
            requests: 100_000,
            per: Duration::from_secs(1),
            burst: 100_000,
        }),
        timeouts: TimeoutPolicy::default(),
        body_bytes_max: None,
        ai: None,
    };
    let key = |n: u64| ApiKeySpec {
        id: format!("{n:016x}"),
        consumer: format!("bench/main/consumer-{n}"),
        hash: key_hash(&HASH_KEY, &key_text(n)),
        enabled: true,
    };
    GatewaySpec {
        version: 1,
        routes: (0..ROUTES).map(route).collect(),
        consumers: (0..KEYS)
            .map(|n| ConsumerSpec {
                name: format!("bench/main/consumer-{n}"),
            })
            .collect(),
        api_keys: (0..KEYS).map(key).collect(),
        upstreams: vec![UpstreamSpec {
            name: "up".into(),
            endpoints: vec![endpoint],
        }],
        ai: Default::default(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, folder, ca @ ..] = arguments.as_slice() else {
        return Err("usage: gateway_bench LISTEN UPSTREAM FOLDER [CA]".into());
    };
    let ca = ca.first().map(fs_err::read_to_string).transpose()?;
    let endpoint = endpoint(upstream.parse()?, ca.as_deref())?;
    let settings = GatewaySettings {
        listen: vec![listen.parse()?],
        workers: 1,
        key_hash_key: Secret::new(HASH_KEY),
        table_file: None,
        access_log: Some(PathBuf::from(folder).join("gateway-access.log")),
        limits: Limits::default(),
        clock: Arc::new(SystemClock(Instant::now())),
        rng: Arc::new(FixedRng),
        ledger: None,
    };
    let (_spec, spec_rx) = tokio::sync::watch::channel(Arc::new(spec(endpoint)));
    // Nobody reads the records here: the bench compares with a proxy that makes none.
    let (records, _) = tokio::sync::mpsc::channel(1);
    let running = Gateway::start(settings, spec_rx, records, Arc::new(NoDial))?;
    println!("ready {}", key_text(4242));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(running.drain(Duration::from_secs(1)));
    Ok(())
}
