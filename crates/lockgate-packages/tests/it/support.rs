//! What every test needs: a fake node, a repeatable source of randomness, and calls by type token.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use lockgate_engine::event::{EngineEvent, EventSink};
use lockgate_engine::provider::{
    CallContext, CheckFailure, CheckRequest, CreateRequest, CreateResponse, DeleteRequest,
    DiffRequest, DiffResponse, Provider, ProviderError, Providers, ReadRequest, ReadResponse,
    UpdateRequest,
};
use lockgate_image::gate::{Check, Finding, GatePolicy, GateReport, Ignore, Verdict};
use lockgate_image::{
    BuildKey, BuildRequest, Context, DockerfileSource, FileContent, ImageRecord, OsArch, Progress,
    ProgressEvent,
};
use lockgate_model::ai::{ModelSpec, VendorSpec};
use lockgate_model::gateway::{ConsumerSpec, RouteSpec};
use lockgate_model::service::{ServicePhase, ServiceSpec, ServiceStatus};
use lockgate_model::{
    Clock, Digest, ImageReference, PropertyMap, ResourceState, Rng, ServiceId, Snapshot, Timestamp,
    Urn, Value,
};
use lockgate_packages::images::{Images, ImagesError, Resolved};
use lockgate_packages::node::{ApiKeyRequest, ApiKeyStatus, RouteStatus, VendorStatus};
use lockgate_packages::pins::{Locked, PinLock, PinSpec};
use lockgate_packages::{
    Node, NodeError, Packages, PackagesSettings, ReferencedStack, Stacks, StacksError,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// A source that repeats itself.
#[derive(Default)]
pub(crate) struct TestRng(AtomicU64);

impl Rng for TestRng {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let block = self.0.fetch_add(1, Ordering::Relaxed);
            let hash = Digest::of(&block.to_le_bytes());
            chunk.copy_from_slice(&hash.as_bytes()[..chunk.len()]);
        }
    }
}

/// Keeps events for assertions.
#[derive(Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<EngineEvent>>);

impl EventSink for Events {
    fn emit(&self, event: EngineEvent) {
        self.0.lock().push(event);
    }
}

impl Events {
    pub(crate) fn texts(&self) -> Vec<String> {
        let events = self.0.lock();
        let text = |event: &EngineEvent| match event {
            EngineEvent::Message { text, .. } => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(text).collect()
    }
}

/// A node in memory that counts its calls.
#[derive(Default)]
pub(crate) struct FakeNode {
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) services: Mutex<BTreeMap<ServiceId, ServiceSpec>>,
    pub(crate) routes: Mutex<BTreeMap<String, RouteSpec>>,
    pub(crate) consumers: Mutex<BTreeMap<String, ConsumerSpec>>,
    pub(crate) keys: Mutex<BTreeMap<String, ApiKeyStatus>>,
    pub(crate) vendors: Mutex<BTreeMap<String, VendorSpec>>,
    pub(crate) models: Mutex<BTreeMap<String, ModelSpec>>,
    /// The next apply fails with this.
    pub(crate) failure: Mutex<Option<NodeError>>,
}

impl FakeNode {
    fn call(&self, text: String) -> Result<(), NodeError> {
        self.calls.lock().push(text);
        match self.failure.lock().take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn status(spec: &ServiceSpec) -> ServiceStatus {
    ServiceStatus {
        id: spec.id.clone(),
        digest: spec.image.digest.expect("a service image has a digest"),
        phase: ServicePhase::Healthy,
        instances: Vec::new(),
        generation: 1,
    }
}

fn route_status(spec: &RouteSpec) -> RouteStatus {
    RouteStatus {
        url: format!("http://127.0.0.1:8080/{}", spec.name),
        spec: spec.clone(),
    }
}

#[async_trait]
impl Node for FakeNode {
    async fn apply_service(
        &self,
        spec: ServiceSpec,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ServiceStatus, NodeError> {
        self.call(format!("apply service {}", spec.id))?;
        progress("1 of 1 healthy".into());
        let status = status(&spec);
        self.services.lock().insert(spec.id.clone(), spec);
        Ok(status)
    }
    async fn find_service(&self, id: &ServiceId) -> Result<Option<ServiceStatus>, NodeError> {
        self.call(format!("find service {id}"))?;
        Ok(self.services.lock().get(id).map(status))
    }
    async fn remove_service(&self, id: &ServiceId) -> Result<(), NodeError> {
        self.call(format!("remove service {id}"))?;
        self.services.lock().remove(id);
        Ok(())
    }
    async fn apply_route(&self, route: RouteSpec) -> Result<RouteStatus, NodeError> {
        self.call(format!("apply route {}", route.name))?;
        let status = route_status(&route);
        self.routes.lock().insert(route.name.clone(), route);
        Ok(status)
    }
    async fn find_route(&self, name: &str) -> Result<Option<RouteStatus>, NodeError> {
        self.call(format!("find route {name}"))?;
        Ok(self.routes.lock().get(name).map(route_status))
    }
    async fn remove_route(&self, name: &str) -> Result<(), NodeError> {
        self.call(format!("remove route {name}"))?;
        self.routes.lock().remove(name);
        Ok(())
    }
    async fn apply_consumer(&self, consumer: ConsumerSpec) -> Result<(), NodeError> {
        self.call(format!("apply consumer {}", consumer.name))?;
        self.consumers
            .lock()
            .insert(consumer.name.clone(), consumer);
        Ok(())
    }
    async fn find_consumer(&self, name: &str) -> Result<Option<ConsumerSpec>, NodeError> {
        self.call(format!("find consumer {name}"))?;
        Ok(self.consumers.lock().get(name).cloned())
    }
    async fn remove_consumer(&self, name: &str) -> Result<(), NodeError> {
        self.call(format!("remove consumer {name}"))?;
        self.consumers.lock().remove(name);
        Ok(())
    }
    async fn apply_api_key(&self, request: ApiKeyRequest) -> Result<ApiKeyStatus, NodeError> {
        self.call(format!("apply key of {}", request.consumer))?;
        let key = request.key.expose();
        let (id, _) = lockgate_model::gateway::ApiKeySpec::split(key).expect("the form of a key");
        let status = ApiKeyStatus {
            id: id.to_owned(),
            consumer: request.consumer,
            enabled: request.enabled,
        };
        self.keys.lock().insert(status.id.clone(), status.clone());
        Ok(status)
    }
    async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyStatus>, NodeError> {
        self.call(format!("find key {id}"))?;
        Ok(self.keys.lock().get(id).cloned())
    }
    async fn remove_api_key(&self, id: &str) -> Result<(), NodeError> {
        self.call(format!("remove key {id}"))?;
        self.keys.lock().remove(id);
        Ok(())
    }
    async fn apply_vendor(&self, vendor: VendorSpec) -> Result<(), NodeError> {
        self.call(format!("apply_vendor {}", vendor.name))?;
        self.vendors.lock().insert(vendor.name.clone(), vendor);
        Ok(())
    }

    async fn find_vendor(&self, name: &str) -> Result<Option<VendorStatus>, NodeError> {
        self.call(format!("find_vendor {name}"))?;
        let vendors = self.vendors.lock();
        Ok(vendors.get(name).map(|vendor| VendorStatus {
            base_url: vendor.base_url.to_string(),
            tls: vendor.tls.clone(),
            has_key: vendor.key.is_some(),
            prices: vendor.prices.clone(),
        }))
    }

    async fn remove_vendor(&self, name: &str) -> Result<(), NodeError> {
        self.call(format!("remove_vendor {name}"))?;
        self.vendors.lock().remove(name);
        Ok(())
    }

    async fn apply_model(&self, model: ModelSpec) -> Result<(), NodeError> {
        self.call(format!("apply_model {}", model.name))?;
        self.models.lock().insert(model.name.clone(), model);
        Ok(())
    }

    async fn find_model(&self, name: &str) -> Result<Option<ModelSpec>, NodeError> {
        self.call(format!("find_model {name}"))?;
        Ok(self.models.lock().get(name).cloned())
    }

    async fn remove_model(&self, name: &str) -> Result<(), NodeError> {
        self.call(format!("remove_model {name}"))?;
        self.models.lock().remove(name);
        Ok(())
    }

    async fn gateway_url(&self) -> Result<String, NodeError> {
        Ok("http://127.0.0.1:8080".into())
    }
}

/// An image side in memory: what is built is the hash of everything that goes in.
#[derive(Default)]
pub(crate) struct FakeImages {
    pub(crate) builds: AtomicU64,
    pub(crate) gates: Mutex<Vec<(GatePolicy, Vec<Ignore>)>>,
    pub(crate) known: Mutex<BTreeMap<String, ImageRecord>>,
    /// What the next gate finds.
    pub(crate) findings: Mutex<Vec<Finding>>,
    /// Digests by reference with tag.
    pub(crate) registry: Mutex<BTreeMap<String, Digest>>,
    /// When images were created.
    pub(crate) created: Mutex<BTreeMap<Digest, Timestamp>>,
    /// Calls that would reach a registry.
    pub(crate) asked: Mutex<Vec<String>>,
    /// A push never ends.
    pub(crate) stuck: AtomicBool,
}

fn build_key(request: &BuildRequest) -> BuildKey {
    let read = |path: &Path| fs_err::read(path).unwrap();
    let mut content = format!(
        "{:?} {:?} {} {:?}",
        request.build_args, request.target, request.platform, request.labels
    )
    .into_bytes();
    match &request.dockerfile {
        DockerfileSource::Path(path) if path.is_absolute() => content.extend(read(path)),
        DockerfileSource::Path(_) => {}
        DockerfileSource::Inline { text, .. } => content.extend(text.as_bytes()),
    }
    match &request.context {
        Context::Folder(folder) => {
            for entry in fs_err::read_dir(folder).unwrap() {
                content.extend(read(&entry.unwrap().path()));
            }
        }
        Context::Files(files) => {
            for file in files {
                content.extend(format!("{} {}", file.path, file.executable).as_bytes());
                match &file.content {
                    FileContent::Path(path) => content.extend(read(path)),
                    FileContent::Bytes(bytes) => content.extend(bytes.iter()),
                }
            }
        }
    }
    BuildKey::parse(&Digest::of(&content).hex()).unwrap()
}

/// Stands still at 2026-11-28.
pub(crate) struct TestClock;

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_795_824_000)
    }

    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

#[async_trait]
impl Images for FakeImages {
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &dyn Progress,
    ) -> Result<ImageRecord, ImagesError> {
        let key = build_key(request);
        if let Some(known) = self.known.lock().get(&key.hex()) {
            return Ok(known.clone());
        }
        self.builds.fetch_add(1, Ordering::Relaxed);
        progress.report(ProgressEvent::Step {
            number: 1,
            total: 1,
            text: "COPY".into(),
        });
        let image = ImageRecord {
            digest: Digest::of(key.hex().as_bytes()),
            config_digest: Digest::of(b"config"),
            diff_ids: Vec::new(),
            key,
            size_bytes: 7,
            built_at: Timestamp(0),
        };
        self.known.lock().insert(key.hex(), image.clone());
        Ok(image)
    }
    async fn has(&self, digest: &Digest) -> Result<bool, ImagesError> {
        Ok(self
            .known
            .lock()
            .values()
            .any(|image| image.digest == *digest))
    }
    async fn check_gate(
        &self,
        digest: &Digest,
        policy: &GatePolicy,
        ignores: &[Ignore],
    ) -> Result<GateReport, ImagesError> {
        self.gates.lock().push((policy.clone(), ignores.to_vec()));
        let findings = self.findings.lock().clone();
        let passed = findings.is_empty();
        let check = Check {
            id: "secrets",
            title: "no secrets",
            verdict: if passed { Verdict::Pass } else { Verdict::Fail },
            findings,
        };
        Ok(GateReport {
            digest: *digest,
            passed,
            checks: vec![check],
        })
    }
    async fn resolve(&self, image: &ImageReference, _: &OsArch) -> Result<Resolved, ImagesError> {
        let digest = match image.digest {
            Some(digest) => digest,
            None if image.is_local() => Digest::of(b"local"),
            None => *self
                .registry
                .lock()
                .get(&image.to_string())
                .ok_or_else(|| ImagesError {
                    message: format!("`{image}` cannot be resolved"),
                    hints: vec!["give the reference a digest".into()],
                })?,
        };
        self.asked.lock().push(format!("resolve {image}"));
        Ok(Resolved {
            index: digest,
            manifest: digest,
            created: self.created.lock().get(&digest).copied(),
        })
    }
    async fn tags(&self, image: &ImageReference) -> Result<Vec<String>, ImagesError> {
        self.asked.lock().push(format!("tags {image}"));
        let prefix = format!("{image}:");
        let known = self.registry.lock();
        let tags = known.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(tags.map(str::to_owned).collect())
    }
    async fn fetch(&self, image: &ImageReference, _: &OsArch) -> Result<Digest, ImagesError> {
        self.asked.lock().push(format!("fetch {image}"));
        Ok(image.digest.unwrap())
    }
    async fn push(&self, digest: &Digest, target: &ImageReference) -> Result<(), ImagesError> {
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.asked.lock().push(format!("push {digest} {target}"));
        Ok(())
    }
}

/// A lock in memory.
#[derive(Default)]
pub(crate) struct FakeLock(pub(crate) Mutex<BTreeMap<String, Locked>>);

impl PinLock for FakeLock {
    fn find(&self, spec: &PinSpec) -> Result<Option<Locked>, String> {
        Ok(self.0.lock().get(&spec.key()).cloned())
    }
    fn record(&self, spec: &PinSpec, locked: &Locked) -> Result<(), String> {
        self.0.lock().insert(spec.key(), locked.clone());
        Ok(())
    }
}

/// One package in a project folder of its own.
pub(crate) struct World {
    pub(crate) node: Arc<FakeNode>,
    pub(crate) images: Arc<FakeImages>,
    pub(crate) lock: Arc<FakeLock>,
    pub(crate) events: Arc<Events>,
    pub(crate) cancel: CancellationToken,
    pub(crate) project: tempfile::TempDir,
    provider: Arc<dyn Provider>,
    creates: AtomicU64,
}

impl World {
    pub(crate) async fn new(package: &str) -> Self {
        Self::with_config(package, PropertyMap::new()).await
    }

    pub(crate) async fn with_config(package: &str, config: PropertyMap) -> Self {
        let images = Arc::new(FakeImages::default());
        Self::with_images(
            package,
            config,
            Arc::clone(&images) as Arc<dyn Images>,
            images,
        )
        .await
    }

    /// Over another image side than the fake one.
    pub(crate) async fn with_images(
        package: &str,
        config: PropertyMap,
        used: Arc<dyn Images>,
        images: Arc<FakeImages>,
    ) -> Self {
        let node = Arc::new(FakeNode::default());
        let project = tempfile::tempdir().unwrap();
        let lock = Arc::<FakeLock>::default();
        let packages = Packages::new(settings(project.path(), &node, &used, &lock));
        Self {
            provider: packages.configure(package, None, &config).await.unwrap(),
            node,
            images,
            lock,
            events: Arc::default(),
            cancel: CancellationToken::new(),
            project,
            creates: AtomicU64::new(0),
        }
    }

    pub(crate) fn ctx(&self, token: &str, preview: bool) -> CallContext {
        CallContext {
            urn: Urn::new("dev", "shop", None, token, "web"),
            cancel: self.cancel.clone(),
            events: Arc::clone(&self.events) as Arc<dyn EventSink>,
            preview,
        }
    }

    pub(crate) async fn check(
        &self,
        token: &str,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, Vec<CheckFailure>> {
        let request = CheckRequest {
            old_inputs: None,
            inputs,
            random_seed: [0; 32],
        };
        let ctx = self.ctx(token, false);
        let checked = self.provider.check(&ctx, request).await.unwrap();
        if checked.failures.is_empty() {
            Ok(checked.inputs)
        } else {
            Err(checked.failures)
        }
    }

    /// The failures of a check as `property: reason`.
    pub(crate) async fn refused(&self, token: &str, inputs: PropertyMap) -> Vec<String> {
        let failures = self.check(token, inputs).await.unwrap_err();
        let text = |f: &CheckFailure| format!("{}: {}", f.property, f.reason);
        failures.iter().map(text).collect()
    }

    pub(crate) async fn create(
        &self,
        token: &str,
        inputs: PropertyMap,
        preview: bool,
    ) -> Result<CreateResponse, ProviderError> {
        let inputs = self.check(token, inputs).await.unwrap();
        let number = self.creates.fetch_add(1, Ordering::Relaxed);
        let request = CreateRequest {
            inputs,
            timeout: None,
            idempotency_key: format!("create-{number}"),
        };
        let ctx = self.ctx(token, preview);
        self.provider.create(&ctx, request).await
    }

    pub(crate) async fn create_with(
        &self,
        token: &str,
        request: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        self.provider.create(&self.ctx(token, false), request).await
    }

    pub(crate) async fn diff(
        &self,
        token: &str,
        old: PropertyMap,
        new: PropertyMap,
    ) -> DiffResponse {
        self.diff_with(token, old, PropertyMap::new(), new).await
    }

    pub(crate) async fn diff_with(
        &self,
        token: &str,
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,
        new: PropertyMap,
    ) -> DiffResponse {
        let request = DiffRequest {
            id: "id".into(),
            old_inputs,
            old_outputs,
            inputs: self.check(token, new).await.unwrap(),
            ignore_changes: Vec::new(),
        };
        let ctx = self.ctx(token, true);
        self.provider.diff(&ctx, request).await.unwrap()
    }

    pub(crate) async fn update(
        &self,
        token: &str,
        old: &CreateResponse,
        old_inputs: PropertyMap,
        inputs: PropertyMap,
        preview: bool,
    ) -> Result<PropertyMap, ProviderError> {
        let request = UpdateRequest {
            id: old.id.clone(),
            old_inputs: self.check(token, old_inputs).await.unwrap(),
            old_outputs: old.outputs.clone(),
            inputs: self.check(token, inputs).await.unwrap(),
            timeout: None,
            idempotency_key: "update".into(),
        };
        let ctx = self.ctx(token, preview);
        self.provider.update(&ctx, request).await
    }

    pub(crate) async fn delete(
        &self,
        token: &str,
        old: &CreateResponse,
        old_inputs: PropertyMap,
    ) -> Result<(), ProviderError> {
        let request = DeleteRequest {
            id: old.id.clone(),
            old_inputs,
            old_outputs: old.outputs.clone(),
            timeout: None,
        };
        self.provider.delete(&self.ctx(token, false), request).await
    }

    pub(crate) async fn read(
        &self,
        token: &str,
        id: &str,
        inputs: PropertyMap,
        outputs: PropertyMap,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        let request = ReadRequest {
            id: id.to_owned(),
            inputs,
            outputs,
        };
        self.provider.read(&self.ctx(token, false), request).await
    }

    pub(crate) async fn invoke(
        &self,
        function: &str,
        args: PropertyMap,
    ) -> Result<Result<PropertyMap, Vec<CheckFailure>>, ProviderError> {
        let ctx = self.ctx("pulumi:pulumi:Stack", false);
        self.provider.invoke(&ctx, function, args).await
    }
}

pub(crate) fn settings(
    project: &Path,
    node: &Arc<FakeNode>,
    images: &Arc<dyn Images>,
    lock: &Arc<FakeLock>,
) -> PackagesSettings {
    PackagesSettings {
        project_dir: project.to_owned(),
        base_env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        clock: Arc::new(TestClock),
        rng: Arc::new(TestRng(AtomicU64::new(0))),
        images: Arc::clone(images),
        lock: Arc::clone(lock) as Arc<dyn PinLock>,
        node: Arc::clone(node) as Arc<dyn Node>,
        stacks: Arc::new(FakeStacks),
    }
}

/// One stack, `shop/prod`, with an output of each kind.
struct FakeStacks;

#[async_trait]
impl Stacks for FakeStacks {
    async fn find(&self, project: &str, stack: &str) -> Result<ReferencedStack, StacksError> {
        if (project, stack) != ("shop", "prod") {
            return Err(StacksError::Missing {
                known: vec!["shop/prod".to_owned(), "other/dev".to_owned()],
            });
        }
        let resource = |token: &str, outputs: &str| {
            Arc::new(ResourceState {
                urn: Some(Urn::new("prod", "shop", None, token, "r")),
                outputs: bag(outputs),
                ..ResourceState::default()
            })
        };
        let outputs = r#"{"host": "h", "key": {"$secret": "k"}, "lost": {"$secret": "$unknown"}}"#;
        Ok(ReferencedStack {
            snapshot: Arc::new(Snapshot {
                resources: vec![
                    resource("pulumi:pulumi:Stack", outputs),
                    resource("a:b:C", r#"{"size": 3, "lost": {"$secret": "$unknown"}}"#),
                ],
                ..Snapshot::default()
            }),
            locked: Some("there is no passphrase".to_owned()),
        })
    }
}

/// A property bag from JSON text; `{"$secret": v}` is a secret, `"$unknown"` unknown.
pub(crate) fn bag(json: &str) -> PropertyMap {
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    match value(&json) {
        Value::Map(map) => map,
        other => panic!("{other:?} is no map"),
    }
}

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => Value::Number(n.as_f64().unwrap()),
        serde_json::Value::String(s) if s == "$unknown" => Value::Unknown,
        serde_json::Value::String(s) => Value::from(s.as_str()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(value).collect()),
        serde_json::Value::Object(map) => match map.get("$secret") {
            Some(inner) => value(inner).into_secret(),
            None => Value::Map(map.iter().map(|(k, v)| (k.clone(), value(v))).collect()),
        },
    }
}

/// The message of a plain failure.
pub(crate) fn message<T: std::fmt::Debug>(result: Result<T, ProviderError>) -> String {
    match result.unwrap_err() {
        ProviderError::Failed { message, .. } => message,
        other => panic!("another failure: {other:?}"),
    }
}
