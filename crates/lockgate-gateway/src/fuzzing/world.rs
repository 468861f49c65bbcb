//! A core with a small table, made once per thread.

use std::cell::RefCell;
use std::io::Result as IoResult;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::gateway::{
    ApiKeySpec, AuthPolicy, BackendSpec, ConsumerSpec, GatewaySpec, PathMatch, RouteMatch,
    RouteSpec, TimeoutPolicy, UpstreamSpec,
};
use lockgate_model::{Clock, Rng, Timestamp};

use crate::Dial;
use crate::conn::plan::{Facts, Plan, plan};
use crate::core::{Core, Shared};
use crate::failure::Failure;
use crate::metrics::CoreMetrics;
use crate::policy::auth::{KeyHasher, key_hash};
use crate::settings::Limits;
use crate::table::{compile, state::State};
use crate::trace::{Trace, TraceQueue};

/// The key that opens `/keyed` and `/bearer`.
const KEY: &str =
    "lgk_0123456789abcdef_abababababababababababababababababababababababababababababababab";
const HASH_KEY: [u8; 32] = [7; 32];
/// Nobody waits for these traces.
const TRACES_MAX: usize = 1;

/// What a plan needs.
pub(super) struct World {
    pub(super) core: Core,
}

/// What became of a head.
pub(super) struct Planned {
    pub(super) plan: Result<Plan, Failure>,
    pub(super) facts: Facts,
    /// The head for the upstream.
    pub(super) out: Vec<u8>,
}

impl World {
    /// Runs `f` with this thread's world.
    pub(super) fn with<T>(f: impl FnOnce(&World) -> T) -> T {
        thread_local! {
            static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
        }
        WORLD.with(|world| f(world.borrow_mut().get_or_insert_with(World::new)))
    }

    fn new() -> Self {
        let mut state = State::new(1);
        let (table, found) = compile::compile(&spec(), &mut state);
        let table = table.unwrap_or_else(|| panic!("the world's table: {found:?}"));
        let shared = Shared::new(
            Limits::default(),
            Arc::new(Fixed),
            Arc::new(Fixed),
            KeyHasher::new(&HASH_KEY),
            None,
            Arc::new(table),
        );
        let metrics = Arc::new(CoreMetrics::new());
        let queue = Arc::new(TraceQueue::new(TRACES_MAX));
        Self {
            core: Core::new(0, Arc::new(shared), metrics, queue, &Fixed),
        }
    }

    /// Plans the request whose head is `bytes`.
    pub(super) fn plan(&self, bytes: &[u8]) -> Planned {
        let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let id = *b"00000000-0000-7000-8000-000000000000";
        let mut trace = Trace::new(id, Timestamp(0), Duration::ZERO, client);
        let mut facts = Facts::default();
        let mut out = Vec::new();
        let plan = plan(&self.core, bytes, &mut facts, &mut trace, &mut out);
        Planned { plan, facts, out }
    }

    /// The plan of a simple request.
    pub(super) fn plan_for(&self, head_only: bool, minor: u8) -> Plan {
        let method = if head_only { "HEAD" } else { "GET" };
        let head = format!("{method} / HTTP/1.{minor}\r\nHost: a\r\n\r\n");
        match self.plan(head.as_bytes()).plan {
            Ok(plan) => plan,
            Err(failure) => panic!("a simple request: {failure:?}"),
        }
    }
}

/// A public route for everything, one that strips its prefix, and two that want a key.
fn spec() -> GatewaySpec {
    let keyed = |header: &str| AuthPolicy::ApiKey {
        header: header.into(),
        consumers: Vec::new(),
    };
    GatewaySpec {
        version: 1,
        routes: vec![
            route("/", None, AuthPolicy::Public),
            route("/strip", Some("/strip"), AuthPolicy::Public),
            route("/keyed", None, keyed("x-api-key")),
            route("/bearer", None, keyed("authorization")),
        ],
        consumers: vec![ConsumerSpec { name: "c".into() }],
        api_keys: vec![ApiKeySpec {
            id: "0123456789abcdef".into(),
            consumer: "c".into(),
            hash: key_hash(&HASH_KEY, KEY),
            enabled: true,
        }],
        upstreams: vec![UpstreamSpec {
            name: "u".into(),
            endpoints: Vec::new(),
        }],
        ..GatewaySpec::default()
    }
}

fn route(prefix: &str, strip: Option<&str>, auth: AuthPolicy) -> RouteSpec {
    RouteSpec {
        name: prefix.into(),
        matches: RouteMatch {
            paths: vec![PathMatch::Prefix(prefix.into())],
            ..RouteMatch::default()
        },
        backends: vec![BackendSpec {
            upstream: "u".into(),
            tls: Default::default(),
            weight: 1,
        }],
        strip_prefix: strip.map(Into::into),
        auth,
        rate_limit: None,
        timeouts: TimeoutPolicy::default(),
        body_bytes_max: None,
        ai: None,
    }
}

/// Time that stands still, numbers that do not vary, and no way out.
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

impl Rng for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(1);
    }
}

#[async_trait::async_trait]
impl Dial for Fixed {
    async fn dial(&self, _: &str, _: u16) -> IoResult<TcpStream> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
