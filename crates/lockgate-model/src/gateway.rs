//! What stacks want of the gateway: routes, consumers, keys. Compiled by the gateway into one
//! immutable table.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use lockgate_diag::Diagnostic;

use crate::ai::{AiPolicy, AiSpec};
use crate::tls::{CaCertificates, ServerIdentity, TlsSettings};

/// The whole wish of a node. A spec that breaks a rule is refused whole; the old table serves on.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GatewaySpec {
    /// Rises with every change; stated in every record and log line.
    pub version: u64,
    /// Routes; names are unique.
    pub routes: Vec<RouteSpec>,
    /// Consumers; names are unique.
    pub consumers: Vec<ConsumerSpec>,
    /// API keys; ids are unique.
    pub api_keys: Vec<ApiKeySpec>,
    /// Upstreams that routes and vendors name.
    pub upstreams: Vec<UpstreamSpec>,
    /// AI vendors and models that routes name.
    pub ai: AiSpec,
}

/// A route: which requests, under which policies, to which upstreams.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    /// Stable name, `project/stack/name`.
    pub name: String,
    /// Which requests it takes.
    pub matches: RouteMatch,
    /// Where they go, by weight. Empty exactly on AI routes.
    pub backends: Vec<BackendSpec>,
    /// Path prefix removed before forwarding.
    pub strip_prefix: Option<String>,
    /// Who may call.
    pub auth: AuthPolicy,
    /// How often one caller may call.
    pub rate_limit: Option<RateLimitPolicy>,
    /// Time limits.
    pub timeouts: TimeoutPolicy,
    /// Largest request body in bytes; `None` relays any size.
    pub body_bytes_max: Option<u64>,
    /// Makes this an AI route: models answer instead of backends.
    pub ai: Option<AiPolicy>,
}

/// Which requests a route takes. Empty lists match everything.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RouteMatch {
    /// Hosts, exact or `*.example.org`.
    pub hosts: Vec<String>,
    /// Paths; any may match.
    pub paths: Vec<PathMatch>,
    /// Methods, upper case.
    pub methods: Vec<String>,
    /// Headers; all must match.
    pub headers: Vec<FieldMatch>,
    /// Query parameters; all must match.
    pub query: Vec<FieldMatch>,
}

/// How a path is compared, on its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// The path or a parent of it, by whole segments.
    Prefix(String),
    /// An anchored regular expression.
    Regex(String),
}

/// A header or query parameter with an exact value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMatch {
    /// Its name; headers in lower case.
    pub name: String,
    /// The value; `None` means any.
    pub value: Option<String>,
}

/// A backend of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSpec {
    /// `service://project/stack/name`, or a URL's origin.
    pub upstream: String,
    /// How its server is known; the default unless the origin is one of `https`.
    pub tls: TlsSettings,
    /// Share of the requests relative to the other backends.
    pub weight: u32,
}

impl BackendSpec {
    /// Name of its [`UpstreamSpec`].
    pub fn upstream_name(&self) -> Cow<'_, str> {
        if self.tls.is_default() {
            return Cow::Borrowed(&self.upstream);
        }
        Cow::Owned(format!("{}{}", self.upstream, self.tls.suffix()))
    }
}

/// Who may call a route. There is no default: a route without authentication says `Public`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthPolicy {
    /// Anybody.
    Public,
    /// Bearers of an API key.
    ApiKey {
        /// Header that carries the key, lower case. `authorization` takes `Bearer <key>`.
        header: String,
        /// Consumers that may call; empty means every consumer.
        consumers: Vec<String>,
    },
}

/// A token bucket per caller: `requests` per `per`, with `burst` at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitPolicy {
    /// Requests added per period.
    pub requests: u64,
    /// The period.
    pub per: Duration,
    /// Most requests at once; at least 1.
    pub burst: u64,
}

/// Time limits of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeoutPolicy {
    /// Connecting to the upstream.
    pub connect: Duration,
    /// From the request's end to the response head.
    pub head: Duration,
    /// Between two reads of a body.
    pub idle: Duration,
    /// The whole exchange; `None` for streams.
    pub total: Option<Duration>,
}

impl Default for TimeoutPolicy {
    /// 5 s to connect, 30 s to the head, 60 s idle, no total: a slow answer is more often a
    /// large one than a dead one.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            total: None,
        }
    }
}

/// Someone who calls APIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// Stable name, `project/stack/name`.
    pub name: String,
}

/// An API key as the node keeps it: never the key itself.
///
/// The key's text is `lgk_<id>_<secret>`; see [`ApiKeySpec::split`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeySpec {
    /// Public part: 16 lower-case hex digits.
    pub id: String,
    /// Consumer it stands for.
    pub consumer: String,
    /// HMAC-SHA-256 of the whole key text under the node's key.
    pub hash: [u8; 32],
    /// Refused when false.
    pub enabled: bool,
}

impl ApiKeySpec {
    /// The prefix of every key, so that leak scanners can find them.
    pub const PREFIX: &str = "lgk_";

    /// Splits a key's text into id and secret; `None` when it has not the form
    /// `lgk_<16 hex>_<64 hex>`.
    pub fn split(text: &str) -> Option<(&str, &str)> {
        let (id, secret) = text.strip_prefix(Self::PREFIX)?.split_once('_')?;
        let hex = |part: &str, length: usize| {
            part.len() == length
                && part
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        (hex(id, 16) && hex(secret, 64)).then_some((id, secret))
    }
}

/// A group of endpoints that serve the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSpec {
    /// Stable name: `service://project/stack/name` or a URL's origin, with a suffix where TLS
    /// settings differ from the default.
    pub name: String,
    /// Where it is reached now. Empty means: answer 503 until there is one.
    pub endpoints: Vec<EndpointSpec>,
}

/// One place that serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointSpec {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A socket handed over from a sandbox's own name space.
    Handed {
        /// Instance that hands it over.
        instance: String,
        /// Port inside.
        port: u16,
    },
    /// The host of a URL. Connections to it are one pool, whatever address they go to.
    Host(HostSpec),
}

/// The host of a URL, and how it is reached now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostSpec {
    /// Host and port; the host as in the URL.
    pub authority: String,
    /// Its addresses now. Those of the family that the resolver put first come first; a new
    /// connection tries several, families in turn.
    pub addresses: Vec<SocketAddr>,
    /// How TLS is spoken to it; `None` is plain TCP.
    pub tls: Option<TlsSpec>,
}

/// How TLS is spoken to a server. It is always verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsSpec {
    /// What its certificate must be for; a host name is told in the handshake.
    pub server_name: ServerIdentity,
    /// Authorities that are trusted besides those of the system.
    pub ca_certificates: Option<CaCertificates>,
}

/// What became of the specs sent to the gateway: which one serves, and why the last one does not.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TableStatus {
    /// Version of the spec whose table serves; 0 before the first.
    pub version: u64,
    /// The newest spec, when it was refused; `None` once a later one serves.
    pub rejected: Option<Rejected>,
}

/// A spec the gateway refused whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Version of the refused spec.
    pub version: u64,
    /// Every rule it breaks.
    pub diagnostics: Vec<Diagnostic>,
}
