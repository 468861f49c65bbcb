//! The last good spec on disk, so that a restarted node serves the same routes at once.
//!
//! One header line with format version and SHA-256 of the rest, then JSON. Written whole to a new
//! file, synced, renamed; a torn or unknown file is refused and left as it is.

use std::borrow::Cow;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fs_err::os::unix::fs::OpenOptionsExt;
use lockgate_diag::{Diagnostic, codes::gateway as codes};
use lockgate_model::ai::AiSpec;
use lockgate_model::gateway as model;
use lockgate_model::tls::{CaCertificates, ServerIdentity, TlsSettings};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// First word of the header line.
const MAGIC: &str = "lockgate-table";
/// Format written. Every older one must stay readable.
const FORMAT: u32 = 2;
/// Formats that are read. The second has TLS and hosts; all else is as in the first.
const FORMATS_READ: [&str; 2] = ["1", "2"];
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Writes `spec` so that `path` holds either the old or the new table, whole.
pub(crate) fn save(path: &Path, spec: &model::GatewaySpec) -> std::io::Result<()> {
    let bytes = encode(spec)?;
    let temporary = path.with_extension("new");
    let mut file = fs_err::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs_err::rename(&temporary, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    fs_err::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The bytes of a table file.
pub(crate) fn encode(spec: &model::GatewaySpec) -> std::io::Result<Vec<u8>> {
    let body = serde_json::to_vec(&Spec::from(&*without_ai(spec)))?;
    let header = format!("{MAGIC} {FORMAT} {}\n", hex::encode(Sha256::digest(&body)));
    Ok([header.as_bytes(), &body].concat())
}

/// Stands in for the models of AI routes in the file; no upstream of a spec has such a name.
const AI_UPSTREAM: &str = "ai:";

/// The spec as it is stored. The keys of AI vendors do not belong into this file, so until the
/// control plane speaks AI routes answer that nothing serves them.
fn without_ai(spec: &model::GatewaySpec) -> Cow<'_, model::GatewaySpec> {
    if spec.routes.iter().all(|route| route.ai.is_none()) {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    spec.ai = AiSpec::default();
    for route in &mut spec.routes {
        if route.ai.take().is_some() {
            route.backends.push(model::BackendSpec {
                upstream: AI_UPSTREAM.into(),
                tls: TlsSettings::default(),
                weight: 1,
            });
        }
    }
    spec.upstreams.push(model::UpstreamSpec {
        name: AI_UPSTREAM.into(),
        endpoints: Vec::new(),
    });
    Cow::Owned(spec)
}

/// The spec at `path`; `None` when there is no file.
pub(crate) fn load(path: &Path) -> Result<Option<model::GatewaySpec>, Diagnostic> {
    let refuse = |why: &str| {
        Diagnostic::error(
            codes::TABLE_FILE,
            format!("table file `{}` {why}", path.display()),
        )
        .hint("start the control plane, or remove the file")
    };
    match fs_err::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(refuse("cannot be read").caused_by(&e)),
        Ok(facts) if facts.len() > FILE_BYTES_MAX => return Err(refuse("is too large")),
        Ok(_) => {}
    }
    let bytes = fs_err::read(path).map_err(|e| refuse("cannot be read").caused_by(&e))?;
    decode(&bytes).map(Some).map_err(|why| match why {
        Unreadable::Torn(why) => refuse(why),
        Unreadable::Format(format) => refuse(&format!(
            "has format `{format}`, expected at most `{FORMAT}`"
        )),
        Unreadable::Body(error) => refuse("cannot be understood").caused_by(&error),
    })
}

/// Why the bytes are no table file.
pub(crate) enum Unreadable {
    /// Not whole; what is missing.
    Torn(&'static str),
    /// Written by another version.
    Format(String),
    /// Whole, but no spec.
    Body(serde_json::Error),
}

/// The spec in the bytes of a table file.
pub(crate) fn decode(bytes: &[u8]) -> Result<model::GatewaySpec, Unreadable> {
    let end = memchr::memchr(b'\n', bytes).ok_or(Unreadable::Torn("has no header line"))?;
    let header = std::str::from_utf8(&bytes[..end]);
    let header = header.map_err(|_| Unreadable::Torn("has a torn header"))?;
    let body = &bytes[end + 1..];
    let words: Vec<&str> = header.split(' ').collect();
    let &[MAGIC, format, digest] = words.as_slice() else {
        return Err(Unreadable::Torn("is not a gateway table"));
    };
    if !FORMATS_READ.contains(&format) {
        return Err(Unreadable::Format(format.to_owned()));
    }
    if digest != hex::encode(Sha256::digest(body)) {
        return Err(Unreadable::Torn("is torn: its checksum does not match"));
    }
    let spec: Spec = serde_json::from_slice(body).map_err(Unreadable::Body)?;
    Ok(spec.into())
}

/// Declares the wire form of a model struct and both directions of its conversion. A field named
/// by `without` is not stored.
macro_rules! wire {
    ($wire:ident = $model:path { $($(#[$how:meta])* $field:ident: $kind:ty = $to:expr, $from:expr;)* } $(without $absent:ident)?) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $wire { $($(#[$how])* $field: $kind),* }

        impl From<&$model> for $wire {
            fn from(from: &$model) -> Self {
                Self { $($field: { let to: fn(&_) -> $kind = $to; to(&from.$field) }),* }
            }
        }

        impl From<$wire> for $model {
            fn from(from: $wire) -> Self {
                Self { $($field: { let to: fn($kind) -> _ = $from; to(from.$field) },)* $($absent: Default::default())? }
            }
        }
    };
}

fn same<T: Clone>(value: &T) -> T {
    value.clone()
}

fn id<T>(value: T) -> T {
    value
}

#[expect(clippy::ptr_arg, reason = "used as a function of the field's own type")]
fn to_list<M, W: for<'m> From<&'m M>>(list: &Vec<M>) -> Vec<W> {
    list.iter().map(W::from).collect()
}

fn from_list<W, M: From<W>>(list: Vec<W>) -> Vec<M> {
    list.into_iter().map(M::from).collect()
}

fn nanos(duration: &Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

wire!(Spec = model::GatewaySpec {
    version: u64 = same, id;
    routes: Vec<Route> = to_list, from_list;
    consumers: Vec<Consumer> = to_list, from_list;
    api_keys: Vec<ApiKey> = to_list, from_list;
    upstreams: Vec<Upstream> = to_list, from_list;
} without ai);

wire!(Route = model::RouteSpec {
    name: String = same, id;
    matches: Match = |m: &model::RouteMatch| m.into(), Into::into;
    backends: Vec<Backend> = to_list, from_list;
    strip_prefix: Option<String> = same, id;
    auth: Auth = |a: &model::AuthPolicy| a.into(), Into::into;
    rate_limit: Option<RateLimit> = |l: &Option<model::RateLimitPolicy>| l.as_ref().map(Into::into), |l| l.map(Into::into);
    timeouts: Timeouts = |t: &model::TimeoutPolicy| t.into(), Into::into;
    body_bytes_max: Option<u64> = same, id;
} without ai);

wire!(Match = model::RouteMatch {
    hosts: Vec<String> = same, id;
    paths: Vec<PathRule> = to_list, from_list;
    methods: Vec<String> = same, id;
    headers: Vec<FieldRule> = to_list, from_list;
    query: Vec<FieldRule> = to_list, from_list;
});

wire!(FieldRule = model::FieldMatch {
    name: String = same, id;
    value: Option<String> = same, id;
});

wire!(Backend = model::BackendSpec {
    upstream: String = same, id;
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    tls: Settings = |t: &TlsSettings| t.into(), Into::into;
    weight: u32 = same, id;
});

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    server_name: Option<Name>,
    ca_certificates: Option<Pem>,
}

impl Settings {
    fn is_empty(&self) -> bool {
        self.server_name.is_none() && self.ca_certificates.is_none()
    }
}

impl From<&TlsSettings> for Settings {
    fn from(from: &TlsSettings) -> Self {
        Self {
            server_name: from.server_name.clone().map(Name),
            ca_certificates: from.ca_certificates.clone().map(Pem),
        }
    }
}

impl From<Settings> for TlsSettings {
    fn from(from: Settings) -> Self {
        Self {
            server_name: from.server_name.map(|name| name.0),
            ca_certificates: from.ca_certificates.map(|pem| pem.0),
        }
    }
}

/// A host name or an address.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Name(ServerIdentity);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        ServerIdentity::parse(&text).map(Self)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_str().to_owned()
    }
}

/// Certificates as PEM.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Pem(CaCertificates);

impl TryFrom<String> for Pem {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        CaCertificates::parse(&text).map(Self)
    }
}

impl From<Pem> for String {
    fn from(pem: Pem) -> Self {
        pem.0.to_string()
    }
}

wire!(Host = model::HostSpec {
    authority: String = same, id;
    addresses: Vec<SocketAddr> = same, id;
    tls: Option<Tls> = |t: &Option<model::TlsSpec>| t.as_ref().map(Into::into), |t| t.map(Into::into);
});

wire!(Tls = model::TlsSpec {
    server_name: Name = |n: &ServerIdentity| Name(n.clone()), |n| n.0;
    ca_certificates: Option<Pem> = |c: &Option<CaCertificates>| c.clone().map(Pem), |c| c.map(|c| c.0);
});

wire!(RateLimit = model::RateLimitPolicy {
    requests: u64 = same, id;
    per: u64 = nanos, Duration::from_nanos;
    burst: u64 = same, id;
});

wire!(Timeouts = model::TimeoutPolicy {
    connect: u64 = nanos, Duration::from_nanos;
    head: u64 = nanos, Duration::from_nanos;
    idle: u64 = nanos, Duration::from_nanos;
    total: Option<u64> = |t: &Option<Duration>| t.as_ref().map(nanos), |t| t.map(Duration::from_nanos);
});

wire!(Consumer = model::ConsumerSpec {
    name: String = same, id;
});

wire!(ApiKey = model::ApiKeySpec {
    id: String = same, id;
    consumer: String = same, id;
    hash: Hash = |h: &[u8; 32]| Hash(*h), |h| h.0;
    enabled: bool = same, id;
});

wire!(Upstream = model::UpstreamSpec {
    name: String = same, id;
    endpoints: Vec<Endpoint> = to_list, from_list;
});

/// 64 hex digits.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hash([u8; 32]);

impl Clone for Hash {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| "a hash is 64 hex digits")?;
        Ok(Self(hash))
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hex::encode(hash.0)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum PathRule {
    Exact(String),
    Prefix(String),
    Regex(String),
}

impl From<&model::PathMatch> for PathRule {
    fn from(from: &model::PathMatch) -> Self {
        match from {
            model::PathMatch::Exact(path) => Self::Exact(path.clone()),
            model::PathMatch::Prefix(path) => Self::Prefix(path.clone()),
            model::PathMatch::Regex(path) => Self::Regex(path.clone()),
        }
    }
}

impl From<PathRule> for model::PathMatch {
    fn from(from: PathRule) -> Self {
        match from {
            PathRule::Exact(path) => Self::Exact(path),
            PathRule::Prefix(path) => Self::Prefix(path),
            PathRule::Regex(path) => Self::Regex(path),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Auth {
    Public,
    ApiKey {
        header: String,
        consumers: Vec<String>,
    },
}

impl From<&model::AuthPolicy> for Auth {
    fn from(from: &model::AuthPolicy) -> Self {
        match from {
            model::AuthPolicy::Public => Self::Public,
            model::AuthPolicy::ApiKey { header, consumers } => Self::ApiKey {
                header: header.clone(),
                consumers: consumers.clone(),
            },
        }
    }
}

impl From<Auth> for model::AuthPolicy {
    fn from(from: Auth) -> Self {
        match from {
            Auth::Public => Self::Public,
            Auth::ApiKey { header, consumers } => Self::ApiKey { header, consumers },
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Endpoint {
    Tcp(SocketAddr),
    Handed { instance: String, port: u16 },
    Host(Host),
}

impl From<&model::EndpointSpec> for Endpoint {
    fn from(from: &model::EndpointSpec) -> Self {
        match from {
            model::EndpointSpec::Tcp(address) => Self::Tcp(*address),
            model::EndpointSpec::Handed { instance, port } => Self::Handed {
                instance: instance.clone(),
                port: *port,
            },
            model::EndpointSpec::Host(host) => Self::Host(host.into()),
        }
    }
}

impl From<Endpoint> for model::EndpointSpec {
    fn from(from: Endpoint) -> Self {
        match from {
            Endpoint::Tcp(address) => Self::Tcp(address),
            Endpoint::Handed { instance, port } => Self::Handed { instance, port },
            Endpoint::Host(host) => Self::Host(host.into()),
        }
    }
}

#[cfg(test)]
mod tests;
