//! Settings of a gateway; every default is a named constant with its reason.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockgate_diag::Secret;
use lockgate_model::ai::Ledger;
use lockgate_model::{Clock, Rng};

/// What a gateway needs to start.
#[derive(Clone)]
pub struct GatewaySettings {
    /// Addresses to listen on. Port 0 takes a free port, the same for all workers.
    pub listen: Vec<SocketAddr>,
    /// Worker threads, one runtime each; at least 1.
    pub workers: usize,
    /// Key of the keyed hash under which API keys are stored.
    pub key_hash_key: Secret<[u8; 32]>,
    /// Where the last good table is kept; `None` keeps none.
    pub table_file: Option<PathBuf>,
    /// JSON access log, appended to; `None` writes none.
    pub access_log: Option<PathBuf>,
    /// Caps and time limits of connections.
    pub limits: Limits,
    /// Stamps and limiter time. Connection timers follow the runtime's clock.
    pub clock: Arc<dyn Clock>,
    /// Seeds request ids.
    pub rng: Arc<dyn Rng>,
    /// Where calls to AI vendors are recorded; without one, AI routes refuse every call.
    pub ledger: Option<Arc<dyn Ledger>>,
}

/// Caps and time limits of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request or response head, in bytes.
    pub head_bytes_max: usize,
    /// Longest request target, in bytes.
    pub target_bytes_max: usize,
    /// From the first byte of a request head to its end.
    pub head_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive_idle: Duration,
    /// Longest wait for the next bytes of a request body.
    pub body_idle: Duration,
    /// Least average rate of a request body, in bytes per second, after [`RATE_GRACE`].
    pub body_rate_min: u64,
    /// Open client connections of one worker; at the cap the worker stops accepting.
    pub connections_per_worker_max: usize,
    /// Open connections to one endpoint, of all workers together; past it requests get 503.
    pub connections_per_endpoint_max: u32,
    /// How long an upstream connection may wait in a pool.
    pub pool_idle: Duration,
    /// Idle connections of one worker to one endpoint.
    pub pool_size: usize,
    /// How long `Expect: 100-continue` waits for the upstream before the gateway says so itself.
    pub continue_wait: Duration,
}

impl Limits {
    /// Fits every honest head; cookies and tokens rarely pass 16 KiB.
    pub const HEAD_BYTES_MAX: usize = 32 * 1024;
    /// What other servers accept at most, so longer targets would fail further on.
    pub const TARGET_BYTES_MAX: usize = 8 * 1024;
    /// A head is one or two packets; five seconds forgive two lost ones.
    pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
    /// Longer than common clients keep theirs, so that the client closes first.
    pub const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(75);
    /// A body that stops for longer is dead or hostile.
    pub const BODY_IDLE: Duration = Duration::from_secs(15);
    /// Slower than any modem; only an attack stays below.
    pub const BODY_RATE_MIN: u64 = 256;
    /// About 20 MiB of idle connections.
    pub const CONNECTIONS_PER_WORKER_MAX: usize = 16_384;
    /// Far above what one process serves at once, far below the ports of one address.
    pub const CONNECTIONS_PER_ENDPOINT_MAX: u32 = 4096;
    /// Below the 5 s after which common application servers close: a pooled connection should be
    /// closed by us, because a request on one that just closed can only be repeated if its
    /// method allows.
    pub const POOL_IDLE: Duration = Duration::from_secs(4);
    /// More are closed after use.
    pub const POOL_SIZE: usize = 256;
    /// As long as clients wait before they send anyway (RFC 9110 §10.1.1).
    pub const CONTINUE_WAIT: Duration = Duration::from_secs(1);
}

/// How long a body may be slower than [`Limits::body_rate_min`]: slow start and bursts are honest.
pub const RATE_GRACE: Duration = Duration::from_secs(10);

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: Self::HEAD_BYTES_MAX,
            target_bytes_max: Self::TARGET_BYTES_MAX,
            head_timeout: Self::HEAD_TIMEOUT,
            keep_alive_idle: Self::KEEP_ALIVE_IDLE,
            body_idle: Self::BODY_IDLE,
            body_rate_min: Self::BODY_RATE_MIN,
            connections_per_worker_max: Self::CONNECTIONS_PER_WORKER_MAX,
            connections_per_endpoint_max: Self::CONNECTIONS_PER_ENDPOINT_MAX,
            pool_idle: Self::POOL_IDLE,
            pool_size: Self::POOL_SIZE,
            continue_wait: Self::CONTINUE_WAIT,
        }
    }
}
