//! What a node remembers: services, routes, consumers, API keys, the audit chain and roll-ups of
//! its traffic, in one SQLite file.
//!
//! In: model objects and the acts that changed them. Out: the same objects after a restart.
//! A change and its audit row are one transaction, durable when the call returns
//! (WAL, `synchronous=FULL`).
//!
//! It decides nothing: what may be saved, in which order and by whom is the control crate's. It
//! never holds an API key in any form but its hash, and never a secret of a service but sealed
//! under the node's key. No other crate speaks SQL.
//!
//! Start reading at [`Store`], then [`SqliteStore`]; stored formats are in `document.rs`.

mod audit;
mod calls;
mod document;
mod key;
mod ledger;
mod seal;
mod sqlite;
mod totals;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use audit::{Act, AuditRow};
pub use key::{NodeKey, NodeKeyError};
pub use ledger::{FaultHook, Journal, JournalLimits, LEDGER_FAULT_POINTS};
pub use sqlite::SqliteStore;

use async_trait::async_trait;
use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallGroup, CallPlace, CallRow, CallTotal, LedgerHealth, ModelSpec, VendorSpec,
};
use lockgate_model::gateway::{ApiKeySpec, ConsumerSpec, RouteSpec};
use lockgate_model::service::{ServiceId, ServiceSpec};

/// Upper bounds of the latency buckets in milliseconds; one more bucket takes the rest. Powers of
/// about three: coarse enough to store per minute and route, fine enough for a percentile.
pub const LATENCY_BOUNDS_MS: [u64; 9] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000];

/// Number of latency buckets.
pub const LATENCY_BUCKETS: usize = LATENCY_BOUNDS_MS.len() + 1;

/// A service with the number of its last rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredService {
    /// What to run.
    pub spec: ServiceSpec,
    /// Rises with every rollout.
    pub generation: u64,
}

/// Everything a node has to keep true.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// Services, by identity.
    pub services: Vec<StoredService>,
    /// Routes, by name.
    pub routes: Vec<RouteSpec>,
    /// Consumers, by name.
    pub consumers: Vec<ConsumerSpec>,
    /// API keys, by id; hashes only.
    pub api_keys: Vec<ApiKeySpec>,
    /// AI vendors, by name.
    pub vendors: Vec<VendorSpec>,
    /// AI models, by name.
    pub models: Vec<ModelSpec>,
}

/// One change of the objects.
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds or replaces a service.
    PutService(Box<StoredService>),
    /// Forgets a service.
    RemoveService(ServiceId),
    /// Adds or replaces a route.
    PutRoute(Box<RouteSpec>),
    /// Forgets the route of this name.
    RemoveRoute(String),
    /// Adds or replaces a consumer.
    PutConsumer(ConsumerSpec),
    /// Forgets the consumer of this name.
    RemoveConsumer(String),
    /// Adds or replaces an API key.
    PutApiKey(ApiKeySpec),
    /// Forgets the API key of this id.
    RemoveApiKey(String),
    /// Adds or replaces an AI vendor.
    PutVendor(VendorSpec),
    /// Forgets the AI vendor of this name.
    RemoveVendor(String),
    /// Adds or replaces an AI model.
    PutModel(ModelSpec),
    /// Forgets the AI model of this name.
    RemoveModel(String),
}

/// Requests of one route in one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// Route name; empty for requests that matched none.
    pub route: String,
    /// Minutes since the epoch.
    pub minute: i64,
    /// Requests.
    pub requests: u64,
    /// Requests answered with 500 and above.
    pub errors: u64,
    /// Requests per bucket of [`LATENCY_BOUNDS_MS`].
    pub latency: [u64; LATENCY_BUCKETS],
}

/// Saves and finds. Every method is one transaction.
#[async_trait]
pub trait Store: Send + Sync {
    /// All objects.
    async fn load_objects(&self) -> Result<Objects, StoreError>;
    /// Makes a change durable together with its audit row.
    async fn save_change(&self, change: &Change, act: &Act) -> Result<(), StoreError>;
    /// Takes `count` fresh numbers of the gateway spec and returns the first. Numbers are never
    /// given twice, so a version names one table for the life of the node.
    async fn reserve_spec_versions(&self, count: u32) -> Result<u64, StoreError>;
    /// Audit rows below `before` (all when `None`), newest first, at most `limit`.
    async fn find_audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError>;
    /// Walks the audit chain; `Some(seq)` is the first row that was changed or is missing.
    async fn verify_audit(&self) -> Result<Option<u64>, StoreError>;
    /// Adds counts to the roll-ups.
    async fn add_rollups(&self, rollups: &[Rollup]) -> Result<(), StoreError>;
    /// Roll-ups of one route from minute `from` on, oldest first, at most `limit`.
    async fn find_rollups(
        &self,
        route: &str,
        from: i64,
        limit: u32,
    ) -> Result<Vec<Rollup>, StoreError>;
    /// Roll-ups of all routes together from minute `from` on, one a minute, oldest first, without
    /// a route.
    async fn sum_rollups_by_minute(&self, from: i64) -> Result<Vec<Rollup>, StoreError>;
    /// Roll-ups from minute `from` on, one a route of `routes` that has any, stamped with `from`.
    async fn sum_rollups_by_route(
        &self,
        routes: &[String],
        from: i64,
    ) -> Result<Vec<Rollup>, StoreError>;
    /// Calls to AI vendors that began at `from` or later, newest first, at most `limit`, after the
    /// place `after` of that list; all that the ledger holds at this moment.
    async fn find_calls(
        &self,
        from: Timestamp,
        after: Option<&CallPlace>,
        limit: u32,
    ) -> Result<Vec<CallRow>, StoreError>;
    /// How the ledger is; `None` when there is none.
    fn ledger_health(&self) -> Option<LedgerHealth>;
    /// Calls to AI vendors that began at `from` or later, added up by the values of `by` and by
    /// currency, most calls first; all that the ledger holds at this moment.
    async fn sum_calls(
        &self,
        from: Timestamp,
        by: &[CallGroup],
    ) -> Result<Vec<CallTotal>, StoreError>;
    /// Drops roll-ups older than minute `before`.
    async fn drop_rollups(&self, before: i64) -> Result<(), StoreError>;
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("open the node's store {path}")]
    Open {
        /// Path of the file.
        path: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The file was written by another release, or a migration failed.
    #[error("bring the node's store to this release's schema")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A statement failed.
    #[error("{operation}")]
    Sql {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The ledger's files cannot be read or written.
    #[error("use the files of the ledger")]
    Ledger(#[source] std::io::Error),
    /// A stored document cannot be read.
    #[error("read the stored {kind} `{name}`")]
    Document {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: DocumentError,
    },
}

/// Why a stored document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON of a known version.
    #[error("the document has not the form of a known version")]
    Form(#[source] serde_json::Error),
    /// A field holds what its type does not allow.
    #[error("the field `{0}` has an impossible value")]
    Field(&'static str),
    /// A secret does not open under the node's key: another key, or the row was tampered with.
    #[error("the secret `{0}` does not open under this node's key")]
    Seal(String),
}
