//! A fake world: a provider that records every call and can be told to fail, a journal in memory,
//! events kept, time and randomness from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CheckFailure, CheckRequest, CheckResponse, CreateRequest, CreateResponse,
    DeleteRequest, DiffChanges, DiffRequest, DiffResponse, Provider, ProviderError, Providers,
    ReadRequest, ReadResponse, UpdateRequest,
};
use lockgate_engine::{Durability, EngineEvent, EventSink, Journal, JournalError, diff};
use lockgate_model::schema::PackageSchema;
use lockgate_model::{Clock, JournalEntry, PropertyMap, Rng, Timestamp, Value};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// What a scripted call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Refuses; nothing happens.
    Refuse,
    /// Acts, and then reports that the resource is not in order.
    Partial,
    /// The answer is lost before it acts.
    LostBefore,
    /// The answer is lost after it has acted.
    LostAfter,
}

/// A thing that exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Thing {
    pub(crate) name: String,
    pub(crate) inputs: PropertyMap,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) things: BTreeMap<String, Thing>,
    /// Ids by idempotency key.
    keys: BTreeMap<String, String>,
    next: u64,
    /// `verb name`, in order.
    pub(crate) calls: Vec<String>,
    /// Keys of creates, in order.
    pub(crate) create_keys: Vec<String>,
    /// By `verb name`; used once.
    pub(crate) script: BTreeMap<String, Failure>,
    /// Cancelled by this call.
    pub(crate) trap: Option<(String, CancellationToken)>,
    /// Configured provider settings, in order.
    pub(crate) configured: Vec<PropertyMap>,
    /// No thing may go while another is connected with it.
    pub(crate) orderly: bool,
    /// Every create had an answer, so that none is repeated later.
    pub(crate) answered: bool,
    /// Calls that came too early: on what is not there yet, or is still in use.
    pub(crate) disorder: Vec<String>,
    /// Calls under way, and the most there ever were.
    running: usize,
    pub(crate) running_max: usize,
}

/// The world and everything that looks at it.
#[derive(Clone, Default)]
pub(crate) struct World(pub(crate) Arc<Mutex<Inner>>);

impl World {
    pub(crate) fn fail(&self, call: &str, failure: Failure) {
        self.0.lock().script.insert(call.to_owned(), failure);
    }

    /// Names of what exists, sorted; a name twice is a duplicate.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .0
            .lock()
            .things
            .values()
            .map(|thing| thing.name.clone())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn thing(&self, name: &str) -> Option<Thing> {
        let inner = self.0.lock();
        inner
            .things
            .values()
            .find(|thing| thing.name == name)
            .cloned()
    }

    pub(crate) fn put(&self, id: &str, name: &str, inputs: PropertyMap) {
        let thing = Thing {
            name: name.to_owned(),
            inputs,
        };
        self.0.lock().things.insert(id.to_owned(), thing);
    }

    /// Mutating calls since the last look.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().calls)
    }

    fn scripted(&self, verb: &str, ctx: &CallContext) -> Option<Failure> {
        let call = format!("{verb} {}", ctx.urn.name());
        let mut inner = self.0.lock();
        if matches!(verb, "create" | "update" | "delete" | "read") && !ctx.preview {
            inner.calls.push(call.clone());
        }
        if let Some((_, token)) = inner.trap.as_ref().filter(|(name, _)| *name == call) {
            token.cancel();
        }
        inner.script.remove(&call)
    }

    /// Notes connections of `inputs` to what does not exist.
    fn check_links(inner: &mut Inner, name: &str, inputs: &PropertyMap) {
        for id in links(inputs) {
            if inner.answered && !inner.things.contains_key(id) {
                inner
                    .disorder
                    .push(format!("{name} is connected with {id}, which is gone"));
            }
        }
    }

    async fn busy(&self) {
        {
            let mut inner = self.0.lock();
            inner.running += 1;
            inner.running_max = inner.running_max.max(inner.running);
        }
        tokio::task::yield_now().await;
        self.0.lock().running -= 1;
    }
}

/// Ids of the things that inputs come from.
fn links(inputs: &PropertyMap) -> impl Iterator<Item = &str> {
    let texts = inputs.values().filter_map(Value::as_str);
    texts.filter_map(|text| text.strip_prefix("out of "))
}

fn lost() -> ProviderError {
    ProviderError::Unknown {
        message: "the connection broke".to_owned(),
    }
}

fn outputs(id: &str, inputs: &PropertyMap, preview: bool) -> PropertyMap {
    let mut outputs = inputs.clone();
    let out = if preview {
        Value::Unknown
    } else {
        Value::from(format!("out of {id}"))
    };
    outputs.insert("out".to_owned(), out);
    outputs
}

/// Fails early, or gives what to say after having acted.
fn before(failure: Option<Failure>) -> Result<Option<Failure>, ProviderError> {
    match failure {
        Some(Failure::Refuse) => Err(ProviderError::failed("the fake refuses")),
        Some(Failure::LostBefore) => Err(lost()),
        other => Ok(other),
    }
}

fn after(
    failure: Option<Failure>,
    id: &str,
    outputs: PropertyMap,
) -> Result<PropertyMap, ProviderError> {
    match failure {
        Some(Failure::LostAfter) => Err(lost()),
        Some(Failure::Partial) => Err(ProviderError::Partial {
            id: id.to_owned(),
            outputs,
            reasons: vec!["not ready".to_owned()],
        }),
        _ => Ok(outputs),
    }
}

#[async_trait]
impl Provider for World {
    async fn check(
        &self,
        ctx: &CallContext,
        req: CheckRequest,
    ) -> Result<CheckResponse, ProviderError> {
        before(self.scripted("check", ctx))?;
        let failures = req.inputs.contains_key("bad").then(|| CheckFailure {
            property: "bad".to_owned(),
            reason: "must not be given".to_owned(),
        });
        Ok(CheckResponse {
            inputs: req.inputs,
            failures: failures.into_iter().collect(),
        })
    }

    /// Properties whose name starts with `fixed` need a replacement; types named `First` are
    /// deleted first.
    async fn diff(
        &self,
        ctx: &CallContext,
        req: DiffRequest,
    ) -> Result<DiffResponse, ProviderError> {
        before(self.scripted("diff", ctx))?;
        let detailed = diff::compare(&req.old_inputs, &req.inputs);
        let replaces: Vec<String> = detailed
            .keys()
            .filter(|path| path.starts_with("fixed"))
            .cloned()
            .collect();
        Ok(DiffResponse {
            changes: if detailed.is_empty() {
                DiffChanges::None
            } else {
                DiffChanges::Some
            },
            delete_before_replace: ctx.urn.type_token().ends_with(":First"),
            replaces,
            detailed: Some(detailed),
            stables: Vec::new(),
        })
    }

    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        if ctx.preview {
            return Ok(CreateResponse {
                id: String::new(),
                outputs: outputs("", &req.inputs, true),
            });
        }
        let failure = before(self.scripted("create", ctx))?;
        self.busy().await;
        let id = {
            let mut inner = self.0.lock();
            inner.create_keys.push(req.idempotency_key.clone());
            match inner.keys.get(&req.idempotency_key) {
                Some(id) => id.clone(),
                None => {
                    inner.next += 1;
                    let id = format!("id-{}", inner.next);
                    inner.keys.insert(req.idempotency_key, id.clone());
                    Self::check_links(&mut inner, ctx.urn.name(), &req.inputs);
                    let thing = Thing {
                        name: ctx.urn.name().to_owned(),
                        inputs: req.inputs.clone(),
                    };
                    inner.things.insert(id.clone(), thing);
                    id
                }
            }
        };
        let outputs = after(failure, &id, outputs(&id, &req.inputs, false))?;
        Ok(CreateResponse { id, outputs })
    }

    async fn update(
        &self,
        ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        if ctx.preview {
            return Ok(outputs(&req.id, &req.inputs, true));
        }
        let failure = before(self.scripted("update", ctx))?;
        self.busy().await;
        {
            let mut inner = self.0.lock();
            Self::check_links(&mut inner, ctx.urn.name(), &req.inputs);
            let Some(thing) = inner.things.get_mut(&req.id) else {
                return Err(ProviderError::failed(format!("{} does not exist", req.id)));
            };
            thing.inputs.clone_from(&req.inputs);
            ctx.urn.name().clone_into(&mut thing.name);
        }
        after(failure, &req.id, outputs(&req.id, &req.inputs, false))
    }

    async fn delete(&self, ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        let failure = before(self.scripted("delete", ctx))?;
        self.busy().await;
        {
            let mut inner = self.0.lock();
            inner.things.remove(&req.id);
            let used = |thing: &&Thing| links(&thing.inputs).any(|id| id == req.id);
            let users: Vec<String> = inner
                .things
                .values()
                .filter(used)
                .map(|t| t.name.clone())
                .collect();
            if inner.orderly && !users.is_empty() {
                inner
                    .disorder
                    .push(format!("{} went before {users:?}", ctx.urn.name()));
            }
        }
        match failure {
            Some(Failure::LostAfter) => Err(lost()),
            _ => Ok(()),
        }
    }

    async fn read(
        &self,
        ctx: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        before(self.scripted("read", ctx))?;
        let inner = self.0.lock();
        Ok(inner.things.get(&req.id).map(|thing| ReadResponse {
            id: req.id.clone(),
            inputs: Some(thing.inputs.clone()),
            outputs: outputs(&req.id, &thing.inputs, false),
        }))
    }

    async fn invoke(
        &self,
        _: &CallContext,
        function: &str,
        args: PropertyMap,
    ) -> Result<Result<PropertyMap, Vec<CheckFailure>>, ProviderError> {
        self.0.lock().calls.push(format!("invoke {function}"));
        match args.get("bad") {
            Some(_) => Ok(Err(vec![CheckFailure {
                property: "bad".to_owned(),
                reason: "must not be given".to_owned(),
            }])),
            None => Ok(Ok(args)),
        }
    }
}

#[async_trait]
impl Providers for World {
    fn schema(&self, _: &str) -> Option<Arc<PackageSchema>> {
        None
    }

    fn packages(&self) -> Vec<String> {
        vec!["test".to_owned()]
    }

    async fn configure(
        &self,
        package: &str,
        _: Option<&str>,
        config: &PropertyMap,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        if package != "test" {
            return Err(ProviderError::failed(format!("no package `{package}`")));
        }
        self.0.lock().configured.push(config.clone());
        Ok(Arc::new(self.clone()))
    }
}

/// A journal in memory that breaks after `limit` entries, as a killed process would.
pub(crate) struct MemoryJournal {
    pub(crate) entries: Mutex<Vec<JournalEntry>>,
    pub(crate) limit: usize,
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, entries: Vec<JournalEntry>, _: Durability) -> Result<(), JournalError> {
        let mut kept = self.entries.lock();
        for entry in entries {
            if kept.len() >= self.limit {
                return Err(JournalError::LeaseLost);
            }
            kept.push(entry);
        }
        Ok(())
    }
}

/// Keeps events.
#[derive(Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<EngineEvent>>);

impl EventSink for Events {
    fn emit(&self, event: EngineEvent) {
        self.0.lock().push(event);
    }
}

/// A clock that ticks a second at every look.
#[derive(Default)]
pub(crate) struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        let seconds = self.0.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_secs(seconds as i64)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// SplitMix64.
pub(crate) struct Seeded(AtomicU64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Rng for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let mut z = self
                .0
                .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}
