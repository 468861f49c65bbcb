//! The engine's side of a running program: registrations, outputs, reads, function calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::{Diagnostic, Severity, codes};
use lockgate_model::{JournalEntry, PropertyMap, ResourceState, StepOp, Urn, Value};

use crate::engine::{Engine, Fate, Live};
use crate::exec::{is_placeholder, mark_secrets, provider_diagnostic};
use crate::goal::{Goal, live_of};
use crate::journal::Durability;
use crate::registry::ProviderHandle;
use crate::show;
use crate::source::{
    Invocation, InvokeOutcome, Monitor, MonitorError, ReadResource, Registered, Registration,
};
use crate::steps::missing;

/// The function that looks a resource of this run up (engine guide, section 12).
const GET_RESOURCE: &str = "pulumi:pulumi:getResource";

pub(crate) struct EngineMonitor {
    engine: Arc<Engine>,
}

impl EngineMonitor {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl Monitor for EngineMonitor {
    async fn register(&self, registration: Registration) -> Result<Registered, MonitorError> {
        Arc::clone(&self.engine).register(registration).await
    }

    async fn register_outputs(&self, urn: Urn, outputs: PropertyMap) -> Result<(), MonitorError> {
        self.engine.register_outputs(&urn, outputs).await
    }

    async fn read(&self, resource: ReadResource) -> Result<Registered, MonitorError> {
        let engine = Arc::clone(&self.engine);
        let task = self
            .engine
            .tasks
            .spawn(async move { engine.read_resource(resource).await });
        match task.await {
            Ok(result) => result,
            Err(error) => Err(self.engine.report(
                Diagnostic::error(codes::program::ENGINE_BUG, "a read broke off").caused_by(&error),
            )),
        }
    }

    async fn invoke(&self, invocation: Invocation) -> Result<InvokeOutcome, MonitorError> {
        self.engine.invoke(invocation).await
    }

    fn log(&self, severity: Severity, urn: Option<Urn>, message: String) {
        self.engine.say(severity, urn.as_ref(), message);
        if severity == Severity::Error {
            self.engine.state.lock().failed = true;
        }
    }

    fn is_preview(&self) -> bool {
        self.engine.is_preview()
    }

    fn stack_urn(&self) -> Urn {
        self.engine.stack_urn()
    }
}

impl Engine {
    async fn register_outputs(&self, urn: &Urn, outputs: PropertyMap) -> Result<(), MonitorError> {
        if *urn == self.stack_urn() {
            self.state.lock().stack_outputs = Some(outputs);
            return Ok(());
        }
        let Some(live) = self.find_live(urn) else {
            return Err(self.report_error(
                codes::program::UNKNOWN_PARENT,
                format!("outputs were given for `{urn}`, which was not registered in this run"),
            ));
        };
        if live.skipped || !live.targeted {
            return Ok(());
        }
        self.replace_outputs(urn, outputs).await
    }

    /// Replaces the outputs of a component whole.
    async fn replace_outputs(&self, urn: &Urn, outputs: PropertyMap) -> Result<(), MonitorError> {
        let entry = {
            let mut state = self.state.lock();
            let Some(live) = state.live.get_mut(urn) else {
                return Ok(());
            };
            if live.state.outputs == outputs {
                return Ok(());
            }
            let mut changed = (*live.state).clone();
            changed.outputs.clone_from(&outputs);
            live.state = Arc::new(changed);
            live.entry
        };
        let Some(entry) = entry else { return Ok(()) };
        let record = vec![JournalEntry::Outputs { entry, outputs }];
        self.record(record, Durability::Queued).await
    }

    /// Takes the outputs of the stack: as they are after a run that went well, laid over the old
    /// ones after one that did not.
    pub(crate) async fn settle_stack_outputs(&self) {
        let urn = self.stack_urn();
        let Some(live) = self.find_live(&urn) else {
            return;
        };
        let new = self.state.lock().stack_outputs.take();
        let outputs = if self.has_failed() || self.is_halted() {
            let mut merged = live.state.outputs.clone();
            merged.extend(new.unwrap_or_default());
            merged
        } else {
            new.unwrap_or_default()
        };
        // A journal error was reported by the recorder.
        let _ = self.replace_outputs(&urn, outputs).await;
    }

    /// Every target must name something; says whether all do.
    pub(crate) fn check_targets_exist(&self) -> bool {
        let mut all = true;
        let scope = &self.scope;
        for (targets, what) in [
            (&scope.targets, "target"),
            (&scope.excludes, "exclude"),
            (&self.replace, "replace"),
        ] {
            if targets.is_empty() {
                continue;
            }
            let known: Vec<Urn> = {
                let state = self.state.lock();
                let old = state.olds.iter().filter_map(|old| old.state.urn.clone());
                old.chain(state.claimed.iter().cloned()).collect()
            };
            for pattern in targets.unmatched(&known) {
                all = false;
                self.report_error(
                    codes::program::UNKNOWN_TARGET,
                    format!("no resource matches the {what} `{pattern}`"),
                );
            }
        }
        all
    }

    async fn read_resource(
        self: &Arc<Self>,
        resource: ReadResource,
    ) -> Result<Registered, MonitorError> {
        let registration = Registration {
            type_token: resource.type_token.clone(),
            name: resource.name,
            custom: true,
            inputs: resource.inputs,
            property_dependencies: BTreeMap::new(),
            options: resource.options,
        };
        let mut goal = self.claim(registration).await?;
        goal.provider = self
            .choose_provider(
                &resource.type_token,
                goal.options.provider.as_deref(),
                &goal.providers,
                goal.options.version.as_deref(),
            )
            .await?;
        let handle = self.handle_of(&goal).await?;
        let old = goal.old.map(|index| (index, self.old(index)));
        let displaces = old
            .as_ref()
            .is_some_and(|(_, (_, old))| !is_placeholder(old) && old.id != resource.id);
        let op = if displaces {
            StepOp::ReadReplacement
        } else {
            StepOp::Read
        };
        let mut state = goal.state(goal.inputs.clone());
        state.external = true;
        state.id.clone_from(&resource.id);
        let event = show::goal_step(op, &goal, None, Some(&state));
        if let Err(diagnostic) = self.decide(&goal.urn, op, &state.inputs) {
            return Err(self.step_failed(event, diagnostic));
        }
        if resource.id.is_empty() {
            if self.is_preview() {
                return Ok(self.foretell_read(&goal, state));
            }
            let message = format!("`{}` is to be read, but its id is unknown", goal.urn);
            let diagnostic = Diagnostic::error(codes::program::UNKNOWN_VALUE, message);
            return Err(self.step_failed(event, diagnostic));
        }
        self.step_start(&event);
        let known = old.as_ref().filter(|(_, (_, old))| old.id == resource.id);
        let outputs = known.map(|(_, (_, old))| old.outputs.clone());
        let read = self
            .read_back(
                &goal.urn,
                &handle,
                &resource.id,
                state.inputs.clone(),
                outputs.unwrap_or_default(),
            )
            .await;
        match read {
            Ok(Some(read)) => {
                state.id = read.id;
                state.outputs = read.outputs;
            }
            Ok(None) => {
                let diagnostic = missing(&goal.urn, &resource.id);
                return Err(self.step_failed(event, diagnostic));
            }
            Err(diagnostic) => return Err(self.step_failed(event, *diagnostic)),
        }
        mark_secrets(&mut state);
        let registered = self.write_read(&goal, state, displaces).await?;
        self.step_done(event);
        Ok(registered)
    }

    fn foretell_read(&self, goal: &Goal, mut state: ResourceState) -> Registered {
        state.outputs = PropertyMap::new();
        let live = Live {
            pending: true,
            ..live_of(goal, Arc::new(state))
        };
        if let Some(index) = goal.old {
            self.set_fate(index, Fate::Settled);
        }
        self.settle(&goal.urn, live)
    }

    async fn write_read(
        &self,
        goal: &Goal,
        mut state: ResourceState,
        displaces: bool,
    ) -> Result<Registered, MonitorError> {
        let mut remove = Vec::new();
        let mut entry = None;
        if let Some(index) = goal.old {
            let (id, old) = self.old(index);
            state.created = old.created;
            state.modified = old.modified;
            if displaces {
                remove = self.give_way(goal, index).await?;
            } else {
                self.set_fate(index, Fate::Settled);
                remove.push(id);
                let is_base = id.0 < self.base.resources.len() as u64;
                if state == *old && is_base {
                    let keep = vec![JournalEntry::Keep { entry: id }];
                    self.record(keep, Durability::Queued).await?;
                    entry = Some(id);
                }
            }
        }
        let entry = match entry {
            Some(entry) => entry,
            None => {
                let entry = self.next_entry();
                self.write_entry(remove, Some((entry, Arc::new(state.clone()))))
                    .await?;
                entry
            }
        };
        let live = Live {
            entry: Some(entry),
            replaced: displaces,
            ..live_of(goal, Arc::new(state))
        };
        Ok(self.settle(&goal.urn, live))
    }

    async fn invoke(
        self: &Arc<Self>,
        invocation: Invocation,
    ) -> Result<InvokeOutcome, MonitorError> {
        self.go()?;
        if invocation.function == GET_RESOURCE {
            return self.get_resource(&invocation.args).map(Some);
        }
        let (waits, inherited) = {
            let state = self.state.lock();
            let is_pending = |urn| state.live.get(urn).is_some_and(|live| live.pending);
            let parent = invocation
                .parent
                .as_ref()
                .and_then(|urn| state.live.get(urn));
            (
                invocation.depends_on.iter().any(is_pending),
                parent
                    .map(|live| live.providers.clone())
                    .unwrap_or_default(),
            )
        };
        let unknown = invocation.args.values().any(Value::contains_unknown);
        if waits || (unknown && self.is_preview()) {
            return Ok(None);
        }
        let reference = self
            .choose_provider(
                &invocation.function,
                invocation.provider.as_deref(),
                &inherited,
                invocation.version.as_deref(),
            )
            .await?;
        let about = invocation.parent.unwrap_or_else(|| self.stack_urn());
        let ProviderHandle::Ready(provider) = self.handle(&reference, Some(&about)).await? else {
            return Ok(None);
        };
        let function = &invocation.function;
        let answer = provider
            .invoke(&self.call_context(&about), function, invocation.args)
            .await;
        match answer {
            Ok(Ok(result)) => Ok(Some(result)),
            Ok(Err(failures)) => {
                let mut diagnostic = Diagnostic::error(
                    codes::program::INVOKE_FAILED,
                    format!("`{function}` refused its arguments"),
                );
                for failure in failures {
                    diagnostic =
                        diagnostic.cause(format!("`{}`: {}", failure.property, failure.reason));
                }
                Err(self.tell_invoke_failed(diagnostic))
            }
            Err(error) => {
                let mut diagnostic = provider_diagnostic("call", &about, &error);
                diagnostic.code = codes::program::INVOKE_FAILED;
                diagnostic.message = format!("could not call `{function}`");
                Err(self.tell_invoke_failed(diagnostic))
            }
        }
    }

    /// A failed call does not fail the run by itself: the program may live with it.
    fn tell_invoke_failed(&self, diagnostic: Diagnostic) -> MonitorError {
        let message = diagnostic.message.clone();
        self.emit(crate::event::EngineEvent::Diagnostic(Box::new(diagnostic)));
        MonitorError::Failed(message)
    }

    fn get_resource(&self, args: &PropertyMap) -> Result<PropertyMap, MonitorError> {
        let text = args.get("urn").and_then(Value::as_str).unwrap_or_default();
        let live = Urn::parse(text).ok().and_then(|urn| self.find_live(&urn));
        let Some(live) = live else {
            return Err(self.tell_invoke_failed(Diagnostic::error(
                codes::program::INVOKE_FAILED,
                format!("`{text}` is no resource of this run"),
            )));
        };
        let text = |value: &str| Value::from(value);
        Ok([
            ("urn".to_owned(), text(live.state.urn_str())),
            ("id".to_owned(), text(&live.state.id)),
            ("provider".to_owned(), text(&live.state.provider)),
            ("state".to_owned(), Value::Map(live.state.outputs.clone())),
        ]
        .into())
    }
}
