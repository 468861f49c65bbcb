//! The start of a node's control side: what was promised before, and what still runs of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lockgate_model::ServiceId;
use lockgate_service::{Adopted, AdoptedState, Instance, ServiceError};
use lockgate_store::{StoreError, StoredService};
use parking_lot::Mutex;

use crate::state::{State, Version};
use crate::tasks::Tasks;
use crate::{ControlSettings, Shared, traffic};

/// Versions of the spec taken from the store at once, so that an endpoint that comes or goes costs
/// no write; a node that dies leaves a gap.
const VERSION_BLOCK: u32 = 100_000;
/// How often hosts of backend URLs are resolved again, and the block of versions is looked at.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Time an instance that nobody wants any more has to end by itself.
const STRAY_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What was promised cannot be read.
    #[error("load what the node has promised")]
    Store(#[source] StoreError),
    /// What runs cannot be told.
    #[error("find what still runs on the platform")]
    Platform(#[source] ServiceError),
}

pub(crate) async fn start(settings: ControlSettings) -> Result<Arc<Shared>, StartError> {
    let store = Arc::clone(&settings.store);
    let objects = store.load_objects().await.map_err(StartError::Store)?;
    let first = store
        .reserve_spec_versions(VERSION_BLOCK)
        .await
        .map_err(StartError::Store)?;
    let adopted = settings
        .platform
        .adopt()
        .await
        .map_err(StartError::Platform)?;
    let (versions, strays) = match_instances(objects.services, adopted);

    let state = State {
        routes: objects
            .routes
            .into_iter()
            .map(|r| (r.name.clone(), r))
            .collect(),
        consumers: objects
            .consumers
            .into_iter()
            .map(|c| (c.name.clone(), c))
            .collect(),
        api_keys: objects
            .api_keys
            .into_iter()
            .map(|k| (k.id.clone(), k))
            .collect(),
        vendors: objects
            .vendors
            .into_iter()
            .map(|v| (v.name.clone(), v))
            .collect(),
        models: objects
            .models
            .into_iter()
            .map(|m| (m.name.clone(), m))
            .collect(),
        services: versions,
        ..State::default()
    };
    let shared = Arc::new(Shared {
        platform: settings.platform,
        store: settings.store,
        spec: settings.spec,
        status: settings.status,
        node_key: settings.node_key,
        clock: settings.clock,
        rng: settings.rng,
        gateway_url: settings.gateway_url,
        tasks: Tasks::default(),
        state: Mutex::new(state),
        turn: tokio::sync::Mutex::new(()),
        slots: Mutex::default(),
    });
    shared.refresh_addresses().await;
    shared.publish_first(first);
    let running: Vec<Arc<Version>> = shared.state.lock().services.values().cloned().collect();
    for version in &running {
        shared.supervise_all(version);
    }
    spawn_background(&shared, settings.records, strays, first);
    Ok(shared)
}

/// Gives every stored service the running instances of its generation; the rest are strays: what
/// a rollout left that was cut short, and what has ended.
fn match_instances(
    services: Vec<StoredService>,
    adopted: Vec<Adopted>,
) -> (BTreeMap<ServiceId, Arc<Version>>, Vec<String>) {
    let mut running: BTreeMap<(ServiceId, u64), Vec<Instance>> = BTreeMap::new();
    let mut strays = Vec::new();
    for Adopted { spec, state } in adopted {
        let key = (spec.service.id, spec.generation);
        match state {
            AdoptedState::Running(instance) => running.entry(key).or_default().push(instance),
            AdoptedState::Exited(_) => strays.push(spec.id),
        }
    }
    let mut versions = BTreeMap::new();
    for StoredService { spec, generation } in services {
        let id = spec.id.clone();
        let version = Version::new(spec, generation);
        let mut instances = running
            .remove(&(id.clone(), generation))
            .unwrap_or_default();
        for replica in &version.replicas {
            let mut replica = replica.lock();
            // It was healthy or about to be found otherwise: the first probe decides, and until
            // then a node that restarts causes no gap.
            replica.instance = instances.pop();
            replica.healthy = replica.instance.is_some();
            replica.log_source = replica.instance.as_ref().map(|i| i.id.clone());
        }
        strays.extend(instances.into_iter().map(|instance| instance.id));
        versions.insert(id, version);
    }
    strays.extend(running.into_values().flatten().map(|instance| instance.id));
    (versions, strays)
}

fn spawn_background(
    shared: &Arc<Shared>,
    records: tokio::sync::mpsc::Receiver<lockgate_model::record::RequestRecord>,
    strays: Vec<String>,
    first: u64,
) {
    let cleaner = Arc::clone(shared);
    shared.tasks.spawn("strays", async move {
        let stop = |id: &String| {
            let (cleaner, id) = (Arc::clone(&cleaner), id.clone());
            async move { cleaner.stop_instance(&id, STRAY_STOP_TIMEOUT).await }
        };
        join_all(strays.iter().map(stop)).await;
    });
    let counter = traffic::run(
        records,
        Arc::clone(&shared.store),
        Arc::clone(&shared.clock),
        shared.tasks.closing().clone(),
    );
    shared.tasks.spawn("traffic", counter);
    let keeper = Arc::clone(shared);
    shared.tasks.spawn("upkeep", async move {
        let closing = keeper.tasks.closing().clone();
        tokio::select! {
            () = closing.cancelled() => {}
            () = keeper.upkeep(first) => {}
        }
    });
}

impl Shared {
    /// The first spec goes out even when it is empty: the gateway learns that it is complete.
    fn publish_first(&self, version: u64) {
        let mut state = self.state.lock();
        let mut spec = state.compile();
        spec.version = version;
        state.spec = Arc::new(spec);
        self.spec.send_replace(Arc::clone(&state.spec));
    }

    async fn upkeep(&self, first: u64) {
        let mut end = first + u64::from(VERSION_BLOCK);
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            self.refresh_addresses().await;
            self.publish();
            let used = self.state.lock().spec.version;
            if end.saturating_sub(used) < u64::from(VERSION_BLOCK) / 2 {
                match self.store.reserve_spec_versions(VERSION_BLOCK).await {
                    Ok(_) => end += u64::from(VERSION_BLOCK),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "versions of the spec could not be reserved");
                    }
                }
            }
        }
    }
}
