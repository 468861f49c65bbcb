//! The use cases of a node: what may be changed, in which order, and what keeps it true.
//!
//! In: services, routes, consumers and API keys that stacks want; instances that a platform runs;
//! request records of the gateway. Out: one [`GatewaySpec`] on a watch channel, always the whole
//! wish, and objects in the store that a restarted node continues from.
//!
//! The old version of a service serves until the new one is healthy and the gateway's table
//! points to it. A change the gateway refuses, or the store cannot keep, is undone whole.
//!
//! It never listens, never speaks HTTP or SQL, and never touches the gateway but through its two
//! channels. Start reading at [`Control`], then `commit.rs` (how a change becomes true),
//! `services.rs` (rollouts) and `replica.rs` (supervision).

mod ai;
mod backoff;
mod check;
mod commit;
mod error;
mod objects;
mod origin;
mod replica;
mod services;
mod start;
mod state;
mod tasks;
mod traffic;

// The API may not know the store; these are the rows it shows.
pub use lockgate_store::{AuditRow, LATENCY_BOUNDS_MS, Rollup};

pub use error::ControlError;
pub use objects::{ApiKeyRequest, RouteStatus};
pub use services::{LogReader, ServiceLogLine};
pub use start::StartError;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use lockgate_model::ai::{
    CallGroup, CallPlace, CallRow, CallTotal, LedgerHealth, ModelSpec, VendorSpec,
};
use lockgate_model::gateway::{ApiKeySpec, ConsumerSpec, GatewaySpec, RouteSpec, TableStatus};
use lockgate_model::record::RequestRecord;
use lockgate_model::service::{ServiceId, ServiceSpec, ServiceStatus};
use lockgate_model::{Clock, Rng, Timestamp};
use lockgate_service::Platform;
use lockgate_store::{NodeKey, Store};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::services::{Slot, stop_version};
use crate::state::State;
use crate::tasks::Tasks;

/// What the control side of a node is built from.
pub struct ControlSettings {
    /// Where services run.
    pub platform: Arc<dyn Platform>,
    /// What the node remembers.
    pub store: Arc<dyn Store>,
    /// The wish, to the gateway.
    pub spec: watch::Sender<Arc<GatewaySpec>>,
    /// What became of it, from the gateway.
    pub status: watch::Receiver<TableStatus>,
    /// Finished requests, from the gateway; the bounded queue drops when this side is behind.
    pub records: mpsc::Receiver<RequestRecord>,
    /// API keys are hashed under [`NodeKey::hash_key`]; the gateway must hold the same.
    pub node_key: NodeKey,
    /// Wall time for audit rows, monotonic time for restarts.
    pub clock: Arc<dyn Clock>,
    /// Names of instances.
    pub rng: Arc<dyn Rng>,
    /// Where the gateway is reached, without a final slash.
    pub gateway_url: String,
}

/// On whose behalf a change is made, for the audit chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who, for example `uid:1000`.
    pub actor: String,
    /// The id of the request it came with.
    pub request: String,
}

/// What becomes of the services when the node closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Services {
    /// They run on; the next start adopts them.
    Keep,
    /// They are stopped; the next start starts them again.
    Stop,
}

/// What every task of the control side shares.
pub(crate) struct Shared {
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) spec: watch::Sender<Arc<GatewaySpec>>,
    pub(crate) status: watch::Receiver<TableStatus>,
    pub(crate) node_key: NodeKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) gateway_url: String,
    pub(crate) tasks: Tasks,
    pub(crate) state: Mutex<State>,
    /// Held by the one change that is under way, across its await on the gateway.
    pub(crate) turn: tokio::sync::Mutex<()>,
    pub(crate) slots: Mutex<BTreeMap<ServiceId, Arc<Slot>>>,
}

/// The control side of a node. Every changing method runs to its end even when its future is
/// dropped: a caller that hangs up stops waiting, not the change.
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    /// Loads the objects, adopts what the platform still runs, starts what is missing, and
    /// publishes the first spec.
    pub async fn start(settings: ControlSettings) -> Result<Self, StartError> {
        let shared = start::start(settings).await?;
        Ok(Self { shared })
    }

    /// Brings a service to `spec`; returns once the new version is healthy and serves. The same
    /// spec again changes nothing. `progress` takes lines for people and drops them when full.
    pub async fn apply_service(
        &self,
        caller: Caller,
        spec: ServiceSpec,
        progress: mpsc::Sender<String>,
    ) -> Result<ServiceStatus, ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.apply_service(caller, spec, progress))
            .await
    }

    /// Stops and forgets a service; one that is not there is fine.
    pub async fn remove_service(&self, caller: Caller, id: ServiceId) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.remove_service(caller, id)).await
    }

    /// The state of a service.
    pub fn find_service(&self, id: &ServiceId) -> Option<ServiceStatus> {
        self.shared.state.lock().service_status(id)
    }

    /// The states of all services, by identity.
    pub fn services(&self) -> Vec<ServiceStatus> {
        let state = self.shared.state.lock();
        let starting = state.rolling.keys();
        let mut ids: Vec<&ServiceId> = state.services.keys().chain(starting).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .filter_map(|id| state.service_status(id))
            .collect()
    }

    /// Opens the output of a service, beginning with the last `lines` of each instance.
    pub fn open_logs(&self, id: ServiceId, lines: usize) -> Result<LogReader, ControlError> {
        Arc::clone(&self.shared).open_logs(id, lines)
    }

    /// Publishes a route; returns once a table that holds it serves.
    pub async fn apply_route(
        &self,
        caller: Caller,
        route: RouteSpec,
    ) -> Result<RouteStatus, ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.apply_route(caller, route)).await
    }

    /// Withdraws a route; one that is not there is fine.
    pub async fn remove_route(&self, caller: Caller, name: String) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.remove_route(caller, name)).await
    }

    /// The route of this name.
    pub fn find_route(&self, name: &str) -> Option<RouteStatus> {
        self.shared.find_route(name)
    }

    /// Makes a consumer known.
    pub async fn apply_consumer(
        &self,
        caller: Caller,
        consumer: ConsumerSpec,
    ) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.apply_consumer(caller, consumer)).await
    }

    /// Forgets a consumer; refused while a key or a route names it.
    pub async fn remove_consumer(&self, caller: Caller, name: String) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.remove_consumer(caller, name)).await
    }

    /// The consumer of this name.
    pub fn find_consumer(&self, name: &str) -> Option<ConsumerSpec> {
        self.shared.state.lock().consumers.get(name).cloned()
    }

    /// Makes a key valid; only its keyed hash is kept.
    pub async fn apply_api_key(
        &self,
        caller: Caller,
        request: ApiKeyRequest,
    ) -> Result<ApiKeySpec, ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.apply_api_key(caller, request)).await
    }

    /// Makes a key invalid for good; one that is not there is fine.
    pub async fn remove_api_key(&self, caller: Caller, id: String) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.remove_api_key(caller, id)).await
    }

    /// The key of this public id.
    pub fn find_api_key(&self, id: &str) -> Option<ApiKeySpec> {
        self.shared.state.lock().api_keys.get(id).cloned()
    }

    /// Makes an AI vendor known; its key is sealed at rest.
    pub async fn apply_vendor(
        &self,
        caller: Caller,
        vendor: VendorSpec,
    ) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.apply_vendor(caller, vendor)).await
    }

    /// Forgets an AI vendor; refused while a model names it.
    pub async fn remove_vendor(&self, caller: Caller, name: String) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.remove_vendor(caller, name)).await
    }

    /// The AI vendor of this name.
    pub fn find_vendor(&self, name: &str) -> Option<VendorSpec> {
        self.shared.state.lock().vendors.get(name).cloned()
    }

    /// Makes an AI model known.
    pub async fn apply_model(&self, caller: Caller, model: ModelSpec) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.apply_model(caller, model)).await
    }

    /// Forgets an AI model; refused while a route offers it.
    pub async fn remove_model(&self, caller: Caller, name: String) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        self.detach(shared.remove_model(caller, name)).await
    }

    /// The AI model of this name.
    pub fn find_model(&self, name: &str) -> Option<ModelSpec> {
        self.shared.state.lock().models.get(name).cloned()
    }

    /// Calls to AI vendors of the last `minutes`, newest first, at most `limit`, up to this moment,
    /// after the place `after` of that list.
    pub async fn find_calls(
        &self,
        minutes: u32,
        after: Option<&CallPlace>,
        limit: u32,
    ) -> Result<Vec<CallRow>, ControlError> {
        self.shared
            .find_calls(self.ago(minutes), after, limit)
            .await
    }

    /// How the ledger of AI calls is.
    pub fn ledger_health(&self) -> LedgerHealth {
        self.shared.ledger_health()
    }

    /// Calls to AI vendors of the last `minutes`, added up by the values of `by` and by currency,
    /// most calls first, up to this moment.
    pub async fn sum_calls(
        &self,
        minutes: u32,
        by: &[CallGroup],
    ) -> Result<Vec<CallTotal>, ControlError> {
        self.shared.sum_calls(self.ago(minutes), by).await
    }

    fn ago(&self, minutes: u32) -> Timestamp {
        let now = self.shared.clock.now().as_secs();
        Timestamp::from_secs(now - i64::from(minutes) * 60)
    }

    /// The spec that was published last.
    pub fn gateway_spec(&self) -> Arc<GatewaySpec> {
        Arc::clone(&self.shared.state.lock().spec)
    }

    /// What the gateway made of the specs.
    pub fn table_status(&self) -> TableStatus {
        self.shared.status.borrow().clone()
    }

    /// Rows of the audit chain below `before` (all when `None`), newest first, at most `limit`.
    pub async fn find_audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, ControlError> {
        let found = self.shared.store.find_audit(before, limit).await;
        found.map_err(ControlError::Store)
    }

    /// Request counts of a route in the last `minutes`, oldest first, minutes without requests
    /// left out. What came in the last seconds may be missing.
    pub async fn find_traffic(
        &self,
        route: &str,
        minutes: u32,
    ) -> Result<Vec<Rollup>, ControlError> {
        let now = self.shared.clock.now().as_secs().div_euclid(60);
        let from = now - i64::from(minutes);
        let found = self.shared.store.find_rollups(route, from, minutes).await;
        found.map_err(ControlError::Store)
    }

    /// Where the gateway is reached, without a final slash.
    pub fn gateway_url(&self) -> &str {
        &self.shared.gateway_url
    }

    /// Ends every task: running changes are given up and undone, counts are saved, and the
    /// services are kept or stopped. Waits for as long as the services' stop timeouts.
    pub async fn close(&self, services: Services) {
        if services == Services::Stop {
            let versions: Vec<_> = {
                let state = self.shared.state.lock();
                state.services.values().cloned().collect()
            };
            let stops = versions.iter().map(|version| stop_version(version));
            futures_util::future::join_all(stops).await;
        }
        self.shared.tasks.close().await;
    }

    /// Runs a change as a task of the node.
    async fn detach<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, ControlError>> + Send + 'static,
    ) -> Result<T, ControlError> {
        if self.shared.tasks.closing().is_cancelled() {
            return Err(ControlError::Closing);
        }
        let (answer, answered) = oneshot::channel();
        self.shared.tasks.spawn("change", async move {
            // The caller may have left.
            let _ = answer.send(change.await);
        });
        answered.await.unwrap_or(Err(ControlError::Panicked))
    }
}
