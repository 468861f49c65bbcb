//! Programs of the tests, and how they are run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use lockgate_diag::Diagnostic;
use lockgate_engine::event::RunResult;
use lockgate_engine::integrity;
use lockgate_engine::journal::replay;
use lockgate_engine::source::{
    ReadResource, Registered, Registration, ResourceOptions, SourceError,
};
use lockgate_engine::{
    EngineEvent, Interrupts, Monitor, Operation, Options, RunOutcome, RunRequest, Source, run,
};
use lockgate_model::{JournalEntry, PropertyMap, Snapshot, Urn, Value};

use parking_lot::Mutex;

use crate::world::{Events, MemoryJournal, Seeded, Ticks, World};

/// One resource of a test program.
#[derive(Clone, Debug)]
pub(crate) struct Res {
    pub(crate) name: String,
    pub(crate) type_token: String,
    pub(crate) custom: bool,
    pub(crate) inputs: PropertyMap,
    /// Inputs taken from the output `out` of another resource.
    pub(crate) links: BTreeMap<String, String>,
    pub(crate) after: Vec<String>,
    pub(crate) parent: Option<String>,
    pub(crate) deleted_with: Option<String>,
    pub(crate) replace_with: Vec<String>,
    /// Explicit provider resource.
    pub(crate) provider: Option<String>,
    pub(crate) options: ResourceOptions,
    /// Id of a resource that is only read.
    pub(crate) read: Option<String>,
    /// Outputs of a component.
    pub(crate) outputs: Option<PropertyMap>,
}

/// A managed resource of type `test:index:Res`.
pub(crate) fn res(name: &str) -> Res {
    Res {
        name: name.to_owned(),
        type_token: "test:index:Res".to_owned(),
        custom: true,
        inputs: PropertyMap::new(),
        links: BTreeMap::new(),
        after: Vec::new(),
        parent: None,
        deleted_with: None,
        replace_with: Vec::new(),
        provider: None,
        options: ResourceOptions::default(),
        read: None,
        outputs: None,
    }
}

/// A component.
pub(crate) fn component(name: &str) -> Res {
    Res {
        type_token: "my:index:Component".to_owned(),
        custom: false,
        ..res(name)
    }
}

impl Res {
    pub(crate) fn kind(mut self, type_token: &str) -> Self {
        type_token.clone_into(&mut self.type_token);
        self
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.inputs.insert(name.to_owned(), value.into());
        self
    }

    /// Sets `property` to the output `out` of `of`.
    pub(crate) fn link(mut self, property: &str, of: &str) -> Self {
        self.links.insert(property.to_owned(), of.to_owned());
        self
    }

    pub(crate) fn after(mut self, other: &str) -> Self {
        self.after.push(other.to_owned());
        self
    }

    pub(crate) fn parent(mut self, other: &str) -> Self {
        self.parent = Some(other.to_owned());
        self
    }

    pub(crate) fn options(mut self, change: impl FnOnce(&mut ResourceOptions)) -> Self {
        change(&mut self.options);
        self
    }

    pub(crate) fn protect(self) -> Self {
        self.options(|o| o.protect = Some(true))
    }

    fn needs(&self) -> impl Iterator<Item = &String> {
        self.links
            .values()
            .chain(&self.after)
            .chain(&self.parent)
            .chain(&self.deleted_with)
            .chain(&self.replace_with)
            .chain(&self.provider)
    }
}

/// A program: resources, stack outputs, and how it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) resources: Vec<Res>,
    pub(crate) outputs: PropertyMap,
    /// Fails at its end.
    pub(crate) fails: bool,
}

pub(crate) fn program(resources: Vec<Res>) -> Program {
    Program {
        resources,
        ..Program::default()
    }
}

#[async_trait]
impl Source for Program {
    /// Registers in waves: everything whose needs are met goes at once.
    async fn run(&mut self, monitor: Arc<dyn Monitor>) -> Result<(), SourceError> {
        let mut done: HashMap<String, Registered> = HashMap::new();
        let mut rest = self.resources.clone();
        let mut failed = false;
        while !rest.is_empty() {
            let (ready, later): (Vec<Res>, Vec<Res>) = rest
                .into_iter()
                .partition(|res| res.needs().all(|name| done.contains_key(name)));
            if ready.is_empty() {
                break;
            }
            rest = later;
            let calls = ready.iter().map(|res| submit(&*monitor, res, &done));
            let answers = futures_util::future::join_all(calls).await;
            for (res, answer) in ready.iter().zip(answers) {
                match answer {
                    Ok(registered) => {
                        done.insert(res.name.clone(), registered);
                    }
                    Err(_) => failed = true,
                }
            }
        }
        let _ = monitor
            .register_outputs(monitor.stack_urn(), self.outputs.clone())
            .await;
        if self.fails {
            return Err(SourceError::Failed("the program broke".to_owned()));
        }
        if failed {
            return Err(SourceError::Stopped);
        }
        Ok(())
    }
}

async fn submit(
    monitor: &dyn Monitor,
    res: &Res,
    done: &HashMap<String, Registered>,
) -> Result<Registered, lockgate_engine::source::MonitorError> {
    let urn = |name: &String| {
        done[name]
            .urn
            .clone()
            .expect("a registered resource has a URN")
    };
    let mut options = res.options.clone();
    let mut inputs = res.inputs.clone();
    let mut property_dependencies = BTreeMap::new();
    for (property, of) in &res.links {
        let value = done[of].outputs.get("out").cloned().unwrap_or(Value::Null);
        inputs.insert(property.clone(), value);
        property_dependencies.insert(property.clone(), vec![urn(of)]);
        options.depends_on.push(urn(of));
    }
    options.depends_on.extend(res.after.iter().map(urn));
    options.parent = res.parent.as_ref().map(urn);
    options.deleted_with = res.deleted_with.as_ref().map(urn);
    options.replace_with = res.replace_with.iter().map(urn).collect();
    if let Some(provider) = &res.provider {
        let id = match done[provider].id.as_str() {
            "" => lockgate_engine::UNKNOWN_ID,
            id => id,
        };
        options.provider = Some(format!("{}::{id}", urn(provider)));
    }
    if let Some(id) = &res.read {
        let read = ReadResource {
            type_token: res.type_token.clone(),
            name: res.name.clone(),
            id: id.clone(),
            inputs,
            options,
        };
        return monitor.read(read).await;
    }
    let registration = Registration {
        type_token: res.type_token.clone(),
        name: res.name.clone(),
        custom: res.custom,
        inputs,
        property_dependencies,
        options,
    };
    let registered = monitor.register(registration).await?;
    if let Some(outputs) = &res.outputs {
        let urn = registered.urn.clone().expect("URN");
        monitor.register_outputs(urn, outputs.clone()).await?;
    }
    Ok(registered)
}

/// A stack under test.
pub(crate) struct Stack {
    pub(crate) world: World,
    pub(crate) snapshot: Snapshot,
    pub(crate) options: Options,
    pub(crate) interrupts: Interrupts,
    /// The run is killed when its journal has this many entries.
    pub(crate) journal_limit: usize,
    seed: AtomicU64,
}

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) outcome: RunOutcome,
    pub(crate) events: Vec<EngineEvent>,
    pub(crate) journal: Vec<JournalEntry>,
    pub(crate) base: Snapshot,
    pub(crate) calls: Vec<String>,
}

impl Default for Stack {
    fn default() -> Self {
        Self {
            world: World::default(),
            snapshot: Snapshot::default(),
            options: Options::default(),
            interrupts: Interrupts::default(),
            journal_limit: usize::MAX,
            seed: AtomicU64::new(1),
        }
    }
}

impl Stack {
    /// Runs an operation; the snapshot becomes the result. Every prefix of the journal is checked.
    pub(crate) async fn run(&mut self, operation: Operation, program: Option<Program>) -> Ran {
        let ran = self.start(operation, program).await;
        let mut last = ran.base.clone();
        for cut in 0..=ran.journal.len() {
            last = replay(&ran.base, &ran.journal[..cut]).expect("the journal replays");
            if let Err(errors) = integrity::check(&last) {
                panic!("cut at {cut} of {:#?}: {errors:#?}", ran.journal);
            }
        }
        if self.journal_limit == usize::MAX {
            assert_eq!(sorted(&ran.outcome.snapshot), sorted(&last));
        }
        self.snapshot = last;
        ran
    }

    /// Runs without taking the result over.
    pub(crate) async fn start(&self, operation: Operation, program: Option<Program>) -> Ran {
        let source = program.map(|program| Box::new(program) as Box<dyn Source>);
        self.start_source(operation, source).await
    }

    pub(crate) async fn start_source(
        &self,
        operation: Operation,
        source: Option<Box<dyn Source>>,
    ) -> Ran {
        let journal = Arc::new(MemoryJournal {
            entries: Mutex::default(),
            limit: self.journal_limit,
        });
        let events = Arc::new(Events::default());
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        let request = RunRequest {
            operation,
            project: "shop".to_owned(),
            stack: "dev".to_owned(),
            base: self.snapshot.clone(),
            source,
            providers: Arc::new(self.world.clone()),
            journal: (operation != Operation::Preview)
                .then(|| Arc::clone(&journal) as Arc<dyn lockgate_engine::Journal>),
            events: Arc::clone(&events) as Arc<dyn lockgate_engine::EventSink>,
            clock: Arc::new(Ticks::default()),
            rng: Arc::new(Seeded::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d))),
            interrupts: self.interrupts.clone(),
            options: self.options.clone(),
        };
        let outcome = run(request).await;
        let journal = journal.entries.lock().clone();
        Ran {
            outcome,
            events: std::mem::take(&mut *events.0.lock()),
            journal,
            base: self.snapshot.clone(),
            calls: self.world.take_calls(),
        }
    }

    pub(crate) async fn up(&mut self, program: Program) -> Ran {
        self.run(Operation::Up, Some(program)).await
    }

    pub(crate) async fn preview(&mut self, program: Program) -> Ran {
        self.run(Operation::Preview, Some(program)).await
    }

    pub(crate) async fn destroy(&mut self) -> Ran {
        self.run(Operation::Destroy, None).await
    }

    /// The state entries of a name, live ones first.
    pub(crate) fn entries(&self, name: &str) -> Vec<&lockgate_model::ResourceState> {
        let mut found: Vec<_> = self
            .snapshot
            .resources
            .iter()
            .map(|state| &**state)
            .filter(|state| state.urn.as_ref().is_some_and(|urn| urn.name() == name))
            .collect();
        found.sort_by_key(|state| state.delete);
        found
    }

    /// The one state entry of a name.
    pub(crate) fn entry(&self, name: &str) -> &lockgate_model::ResourceState {
        let found = self.entries(name);
        assert_eq!(found.len(), 1, "entries of {name}: {found:#?}");
        found[0]
    }
}

impl Ran {
    /// Finished steps as `op name`, without sames and the root, in order.
    pub(crate) fn steps(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|event| match event {
                EngineEvent::StepDone(step) if step.op.as_str() != "same" => {
                    Some(format!("{} {}", step.op.as_str(), step.urn.name()))
                }
                _ => None,
            })
            .filter(|text| text != "create shop-dev")
            .collect()
    }

    /// The codes of all errors, sorted.
    pub(crate) fn errors(&self) -> Vec<&'static str> {
        let mut codes: Vec<&str> = self
            .diagnostics()
            .filter(|diagnostic| diagnostic.is_error())
            .map(|diagnostic| diagnostic.code.as_str())
            .collect();
        codes.sort_unstable();
        codes
    }

    pub(crate) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.events.iter().filter_map(|event| match event {
            EngineEvent::Diagnostic(diagnostic) | EngineEvent::StepFailed { diagnostic, .. } => {
                Some(&**diagnostic)
            }
            _ => None,
        })
    }

    pub(crate) fn result(&self) -> RunResult {
        self.outcome.summary.result
    }

    /// Asserts that it went well.
    pub(crate) fn good(self) -> Self {
        assert_eq!(
            self.result(),
            RunResult::Succeeded,
            "{:#?}",
            self.diagnostics().collect::<Vec<_>>()
        );
        self
    }
}

/// Entries in an order that does not depend on which independent step ended first.
fn sorted(snapshot: &Snapshot) -> Vec<&lockgate_model::ResourceState> {
    let mut entries: Vec<_> = snapshot.resources.iter().map(|state| &**state).collect();
    entries.sort_by_key(|state| (state.urn.clone(), state.id.clone()));
    entries
}

pub(crate) fn urn(type_token: &str, name: &str) -> Urn {
    Urn::new("dev", "shop", None, type_token, name)
}
