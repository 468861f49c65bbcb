//! What the node knows at a moment, and the gateway spec that follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use lockgate_model::ai::{AiSpec, ModelSpec, VendorSpec};
use lockgate_model::gateway::{
    ApiKeySpec, ConsumerSpec, EndpointSpec, GatewaySpec, HostSpec, RouteSpec, TlsSpec, UpstreamSpec,
};
use lockgate_model::service::{
    InstanceStatus, ServiceId, ServicePhase, ServiceSpec, ServiceStatus,
};
use lockgate_model::tls::{ServerIdentity, TlsSettings};
use lockgate_model::{Digest, Origin};
use lockgate_service::Instance;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One version of a service that runs: its replicas and the means to end them.
pub(crate) struct Version {
    pub(crate) spec: ServiceSpec,
    pub(crate) generation: u64,
    /// One per replica. Each lock guards one replica's facts and is never held over an await.
    pub(crate) replicas: Vec<Mutex<Replica>>,
    /// Told once traffic has moved away: an instance that exits now is not restarted.
    pub(crate) retired: CancellationToken,
    /// Told when the instances have to stop.
    pub(crate) stop: CancellationToken,
    /// Empty once every instance of this version is gone.
    pub(crate) running: TaskTracker,
}

/// What is known of one replica.
#[derive(Default)]
pub(crate) struct Replica {
    /// The instance that runs; `None` while there is none.
    pub(crate) instance: Option<Instance>,
    /// Whether it may get traffic.
    pub(crate) healthy: bool,
    pub(crate) restarts: u32,
    /// The instance whose output is shown: the one that runs, or the last that ran.
    pub(crate) log_source: Option<String>,
}

impl Version {
    pub(crate) fn new(spec: ServiceSpec, generation: u64) -> Arc<Self> {
        let running = TaskTracker::new();
        running.close();
        Arc::new(Self {
            replicas: (0..spec.replicas).map(|_| Mutex::default()).collect(),
            spec,
            generation,
            retired: CancellationToken::new(),
            stop: CancellationToken::new(),
            running,
        })
    }

    /// Where traffic may go now.
    fn endpoints(&self) -> BTreeSet<EndpointSpec> {
        let endpoint = |replica: &Mutex<Replica>| {
            let replica = replica.lock();
            let instance = replica.instance.as_ref().filter(|_| replica.healthy)?;
            Some(instance.endpoint.clone())
        };
        self.replicas.iter().filter_map(endpoint).collect()
    }

    fn instances(&self) -> Vec<InstanceStatus> {
        let status = |replica: &Mutex<Replica>| {
            let replica = replica.lock();
            let instance = replica.instance.as_ref()?;
            Some(InstanceStatus {
                id: instance.id.clone(),
                pid: Some(instance.pid),
                address: match &instance.endpoint {
                    EndpointSpec::Tcp(address) => Some(*address),
                    EndpointSpec::Handed { .. } | EndpointSpec::Host(_) => None,
                },
                healthy: replica.healthy,
                restarts: replica.restarts,
            })
        };
        self.replicas.iter().filter_map(status).collect()
    }
}

/// Everything the node knows. Guarded by one lock that is never held over an await.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) routes: BTreeMap<String, RouteSpec>,
    pub(crate) consumers: BTreeMap<String, ConsumerSpec>,
    pub(crate) api_keys: BTreeMap<String, ApiKeySpec>,
    pub(crate) vendors: BTreeMap<String, VendorSpec>,
    pub(crate) models: BTreeMap<String, ModelSpec>,
    /// The version of each service that gets traffic.
    pub(crate) services: BTreeMap<ServiceId, Arc<Version>>,
    /// Services with a rollout under way, and the digest that is coming.
    pub(crate) rolling: BTreeMap<ServiceId, Digest>,
    /// Addresses behind the URLs that routes name, by upstream name.
    pub(crate) addresses: BTreeMap<String, Vec<SocketAddr>>,
    /// The spec that was published last.
    pub(crate) spec: Arc<GatewaySpec>,
}

impl State {
    /// The spec that follows from the state, under the version published last. Equal states give
    /// equal specs: every list is sorted.
    pub(crate) fn compile(&self) -> GatewaySpec {
        let backends = self.routes.values().flat_map(|route| &route.backends);
        let backends = backends.map(|backend| {
            let endpoints = self.endpoints(&backend.upstream, &backend.tls);
            (backend.upstream_name().into_owned(), endpoints)
        });
        let vendors = self.vendors.values().map(|vendor| {
            let origin = &vendor.base_url.origin;
            (vendor.upstream_name(), self.host(origin, &vendor.tls))
        });
        let upstreams: BTreeMap<String, Vec<EndpointSpec>> = backends.chain(vendors).collect();
        let upstream = |(name, endpoints)| UpstreamSpec { name, endpoints };
        GatewaySpec {
            version: self.spec.version,
            routes: self.routes.values().cloned().collect(),
            consumers: self.consumers.values().cloned().collect(),
            api_keys: self.api_keys.values().cloned().collect(),
            upstreams: upstreams.into_iter().map(upstream).collect(),
            ai: AiSpec {
                vendors: self.vendors.values().cloned().collect(),
                models: self.models.values().cloned().collect(),
            },
        }
    }

    /// Origins of the URLs that routes and vendors name.
    pub(crate) fn origins(&self) -> BTreeSet<String> {
        let backends = self.routes.values().flat_map(|route| &route.backends);
        let names = backends.map(|backend| &backend.upstream);
        let urls = names.filter(|name| ServiceId::from_endpoint(name).is_none());
        let vendors = self.vendors.values();
        let vendors = vendors.map(|vendor| vendor.base_url.origin.to_string());
        urls.cloned().chain(vendors).collect()
    }

    /// Where an upstream is reached now.
    fn endpoints(&self, upstream: &str, tls: &TlsSettings) -> Vec<EndpointSpec> {
        if let Some(id) = ServiceId::from_endpoint(upstream) {
            let version = self.services.get(&id);
            return version.map_or_else(Vec::new, |version| {
                version.endpoints().into_iter().collect()
            });
        }
        let origin = Origin::parse(upstream);
        origin.map_or_else(|_| Vec::new(), |origin| self.host(&origin, tls))
    }

    /// Where the host of a URL is reached now. One place, whatever its addresses are: they stand
    /// for the same server, and connections to them are one pool.
    fn host(&self, origin: &Origin, tls: &TlsSettings) -> Vec<EndpointSpec> {
        let known = self.addresses.get(&origin.to_string());
        let addresses = known.filter(|addresses| !addresses.is_empty());
        let endpoint = addresses.map(|addresses| match (addresses.as_slice(), origin.address()) {
            ([address], Some(_)) if !origin.is_tls() => EndpointSpec::Tcp(*address),
            _ => EndpointSpec::Host(HostSpec {
                authority: format!("{}:{}", origin.bare_host(), origin.port()),
                addresses: addresses.clone(),
                tls: tls_spec(origin, tls),
            }),
        });
        endpoint.into_iter().collect()
    }

    /// The state of a service; `None` when the node has none of this name.
    pub(crate) fn service_status(&self, id: &ServiceId) -> Option<ServiceStatus> {
        let version = self.services.get(id);
        let rolling = self.rolling.get(id);
        let Some(version) = version else {
            return rolling.map(|digest| ServiceStatus {
                id: id.clone(),
                digest: *digest,
                phase: ServicePhase::Starting,
                instances: Vec::new(),
                generation: 0,
            });
        };
        let instances = version.instances();
        let healthy = instances.iter().filter(|instance| instance.healthy).count();
        Some(ServiceStatus {
            id: id.clone(),
            digest: version.spec.image.digest?,
            phase: match rolling {
                Some(_) => ServicePhase::RollingOut,
                None if healthy == version.replicas.len() => ServicePhase::Healthy,
                None => ServicePhase::Degraded,
            },
            instances,
            generation: version.generation,
        })
    }
}

/// How the server of an origin is spoken to: by the URL's host unless told otherwise.
fn tls_spec(origin: &Origin, settings: &TlsSettings) -> Option<TlsSpec> {
    if !origin.is_tls() {
        return None;
    }
    let own = || ServerIdentity::parse(origin.bare_host()).ok();
    Some(TlsSpec {
        server_name: settings.server_name.clone().or_else(own)?,
        ca_certificates: settings.ca_certificates.clone(),
    })
}

/// Exchanges what `map` holds under `key` with `slot`; done twice, it undoes itself.
pub(crate) fn swap_entry<K: Ord + Clone, V>(
    map: &mut BTreeMap<K, V>,
    key: &K,
    slot: &mut Option<V>,
) {
    let held = map.remove(key);
    if let Some(value) = std::mem::replace(slot, held) {
        map.insert(key.clone(), value);
    }
}
