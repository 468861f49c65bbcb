//! Carries out one step: permit, durable intent, provider call, durable outcome.

use std::sync::Arc;
use std::time::Duration;

use lockgate_diag::{Diagnostic, codes};
use lockgate_model::resource::PendingKind;
use lockgate_model::{EntryId, JournalEntry, PropertyMap, ResourceState, Urn, Value};
use tokio::sync::SemaphorePermit;

use crate::engine::Engine;
use crate::journal::Durability;
use crate::provider::{
    CreateRequest, CreateResponse, DeleteRequest, Provider, ProviderError, UpdateRequest,
};
use crate::registry::{ProviderHandle, with_hints};
use crate::source::MonitorError;

/// How to carry out a create or an update.
pub(crate) struct StepCall<'a> {
    pub handle: &'a ProviderHandle,
    /// The key of an earlier attempt; a new one when `None`.
    pub key: Option<String>,
    /// Entries that the new one takes the place of.
    pub remove: Vec<EntryId>,
    /// The pending operation of the base that this step repeats.
    pub resolves: Option<u64>,
    /// Inputs that the new entry is written with instead of the sent ones: those of an earlier
    /// attempt, whose result the provider may have found.
    pub remember: Option<PropertyMap>,
}

/// A provider call that was made.
struct Made {
    verb: &'static str,
    step: u64,
    /// Entries that the new one takes the place of.
    remove: Vec<EntryId>,
    /// It repeats a call whose answer was lost. A refusal then says nothing about the first one.
    repeats: bool,
    remember: Option<PropertyMap>,
}

/// How a provider call ended.
pub(crate) enum Outcome {
    /// Well; this is the new entry.
    Done(EntryId, Arc<ResourceState>),
    /// The resource exists but is not in order; the entry keeps the reasons.
    Partial(EntryId, Arc<ResourceState>, Diagnostic),
    /// Refused; nothing happened, unless an earlier attempt did it.
    Failed(Diagnostic),
    /// No one knows; the operation stays pending.
    Unresolved(Diagnostic),
}

/// Whether an entry stands for something that this run need not delete: it was only read, or was
/// deleted before its replacement.
pub(crate) fn is_placeholder(state: &ResourceState) -> bool {
    state.external || state.pending_replacement
}

/// A time limit of a program, which may be any number.
fn timeout(seconds: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds?).ok()
}

impl Engine {
    /// Waits for a free place among the running mutations.
    pub(crate) async fn permit(&self) -> Result<SemaphorePermit<'_>, MonitorError> {
        let permit = tokio::select! {
            permit = self.permits.acquire() => permit.map_err(|_| MonitorError::Stopped)?,
            () = self.halt.cancelled() => return Err(MonitorError::Stopped),
        };
        self.go()?;
        Ok(permit)
    }

    async fn begin(
        &self,
        kind: PendingKind,
        intent: ResourceState,
        key: &str,
        resolves: Option<u64>,
    ) -> Result<u64, MonitorError> {
        let step = self.next_step();
        let mut entries = vec![JournalEntry::Begin {
            step,
            kind,
            resource: Arc::new(intent),
            idempotency_key: key.to_owned(),
        }];
        entries.extend(resolves.map(|pending| JournalEntry::Resolved { pending }));
        self.record(entries, Durability::Durable).await?;
        Ok(step)
    }

    /// Creates a resource from the inputs in `resource`.
    pub(crate) async fn create_remote(
        &self,
        call: StepCall<'_>,
        mut resource: ResourceState,
    ) -> Result<Outcome, MonitorError> {
        let urn = self.urn_of(&resource)?;
        if let Some(diagnostic) = self.find_unknown(&urn, &resource.inputs) {
            return Ok(Outcome::Failed(diagnostic));
        }
        let _permit = self.permit().await?;
        let repeats = call.key.is_some();
        let key = call.key.clone().unwrap_or_else(|| self.new_key());
        let mut intent = resource.clone();
        if let Some(inputs) = &call.remember {
            intent.inputs.clone_from(inputs);
        }
        let step = self
            .begin(PendingKind::Creating, intent, &key, call.resolves)
            .await?;
        let answer = match call.handle {
            ProviderHandle::Unconfigured => Ok(CreateResponse::default()),
            ProviderHandle::Ready(provider) => {
                let request = CreateRequest {
                    inputs: resource.inputs.clone(),
                    timeout: timeout(resource.custom_timeouts.create),
                    idempotency_key: key,
                };
                provider.create(&self.call_context(&urn), request).await
            }
        };
        let answer = answer.and_then(|response| {
            if response.id.is_empty() && !self.is_preview() {
                // It may exist, but nobody could find it again.
                let message = "the provider gave no id".to_owned();
                return Err(ProviderError::Unknown { message });
            }
            resource.id = response.id;
            Ok(response.outputs)
        });
        resource.created = Some(self.clock.now());
        resource.modified = resource.created;
        let made = Made {
            verb: "create",
            step,
            remove: call.remove,
            repeats,
            remember: call.remember,
        };
        self.end(made, resource, answer).await
    }

    /// Changes a resource in place to the inputs in `resource`, whose outputs are the old ones.
    pub(crate) async fn update_remote(
        &self,
        call: StepCall<'_>,
        old: &ResourceState,
        mut resource: ResourceState,
    ) -> Result<Outcome, MonitorError> {
        let urn = self.urn_of(&resource)?;
        if let Some(diagnostic) = self.find_unknown(&urn, &resource.inputs) {
            return Ok(Outcome::Failed(diagnostic));
        }
        let _permit = self.permit().await?;
        let repeats = call.key.is_some();
        let key = call.key.clone().unwrap_or_else(|| self.new_key());
        // Under the name that the state has, so that the next run finds it if this one is lost.
        let intent = ResourceState {
            urn: old.urn.clone(),
            ..resource.clone()
        };
        let step = self
            .begin(PendingKind::Updating, intent, &key, call.resolves)
            .await?;
        let answer = match call.handle {
            ProviderHandle::Unconfigured => Ok(PropertyMap::new()),
            ProviderHandle::Ready(provider) => {
                let request = UpdateRequest {
                    id: old.id.clone(),
                    old_inputs: old.inputs.clone(),
                    old_outputs: old.outputs.clone(),
                    inputs: resource.inputs.clone(),
                    timeout: timeout(resource.custom_timeouts.update),
                    idempotency_key: key,
                };
                provider.update(&self.call_context(&urn), request).await
            }
        };
        resource.modified = Some(self.clock.now());
        let made = Made {
            verb: "update",
            step,
            remove: call.remove,
            repeats,
            remember: call.remember,
        };
        self.end(made, resource, answer).await
    }

    /// Writes down how a create or an update ended.
    async fn end(
        &self,
        made: Made,
        mut resource: ResourceState,
        answer: Result<PropertyMap, ProviderError>,
    ) -> Result<Outcome, MonitorError> {
        let urn = self.urn_of(&resource)?;
        resource.init_errors = Vec::new();
        let partial = match answer {
            Ok(outputs) => {
                resource.outputs = outputs;
                None
            }
            Err(ProviderError::Partial {
                id,
                outputs,
                reasons,
            }) => {
                let message = format!("`{urn}` exists but is not in order");
                let diagnostic = Diagnostic::error(codes::program::INIT_FAILED, message);
                let diagnostic = reasons.iter().fold(diagnostic, Diagnostic::cause);
                resource.id = id;
                resource.outputs = outputs;
                resource.init_errors = reasons;
                Some(diagnostic)
            }
            Err(error) => return self.end_failed(&made, &urn, &error).await,
        };
        resource.inputs = made.remember.unwrap_or(resource.inputs);
        mark_secrets(&mut resource);
        let (entry, resource) = (self.next_entry(), Arc::new(resource));
        let done = JournalEntry::Done {
            step: Some(made.step),
            remove: made.remove,
            add: Some((entry, Arc::clone(&resource))),
        };
        self.record(vec![done], Durability::Durable).await?;
        Ok(match partial {
            None => Outcome::Done(entry, resource),
            Some(diagnostic) => Outcome::Partial(entry, resource, diagnostic),
        })
    }

    async fn end_failed(
        &self,
        made: &Made,
        urn: &Urn,
        error: &ProviderError,
    ) -> Result<Outcome, MonitorError> {
        let unresolved = made.repeats || is_unresolved(error);
        let failed = JournalEntry::Failed {
            step: made.step,
            unresolved,
        };
        self.record(vec![failed], Durability::Durable).await?;
        let diagnostic = provider_diagnostic(made.verb, urn, error);
        Ok(if is_unresolved(error) {
            Outcome::Unresolved(diagnostic)
        } else {
            Outcome::Failed(diagnostic)
        })
    }

    /// Deletes what `old` stands for and writes `leave` in its place, if anything.
    pub(crate) async fn delete_remote(
        &self,
        provider: &dyn Provider,
        id: EntryId,
        old: &ResourceState,
        leave: Option<(EntryId, ResourceState)>,
    ) -> Result<Result<(), Diagnostic>, MonitorError> {
        let urn = self.urn_of(old)?;
        let _permit = self.permit().await?;
        let key = self.new_key();
        let step = self
            .begin(PendingKind::Deleting, old.clone(), &key, None)
            .await?;
        let request = DeleteRequest {
            id: old.id.clone(),
            old_inputs: old.inputs.clone(),
            old_outputs: old.outputs.clone(),
            timeout: timeout(old.custom_timeouts.delete),
        };
        match provider.delete(&self.call_context(&urn), request).await {
            Ok(()) => {
                let done = JournalEntry::Done {
                    step: Some(step),
                    remove: vec![id],
                    add: leave.map(|(id, state)| (id, Arc::new(state))),
                };
                self.record(vec![done], Durability::Durable).await?;
                self.settle_interrupted(old).await?;
                Ok(Ok(()))
            }
            Err(error) => {
                let unresolved = is_unresolved(&error);
                let failed = JournalEntry::Failed { step, unresolved };
                self.record(vec![failed], Durability::Durable).await?;
                Ok(Err(provider_diagnostic("delete", &urn, &error)))
            }
        }
    }

    /// Writes an entry without a provider call. Queued: a later durable record covers it before
    /// anything that depends on it has an effect.
    pub(crate) async fn write_entry(
        &self,
        remove: Vec<EntryId>,
        add: Option<(EntryId, Arc<ResourceState>)>,
    ) -> Result<(), MonitorError> {
        let done = JournalEntry::Done {
            step: None,
            remove,
            add,
        };
        self.record(vec![done], Durability::Queued).await
    }

    fn urn_of(&self, resource: &ResourceState) -> Result<Urn, MonitorError> {
        resource
            .urn
            .clone()
            .ok_or_else(|| self.report_error(codes::program::ENGINE_BUG, "a step has no resource"))
    }

    /// Outside previews everything that reaches a provider is known.
    fn find_unknown(&self, urn: &Urn, inputs: &PropertyMap) -> Option<Diagnostic> {
        if self.is_preview() {
            return None;
        }
        let (name, _) = inputs.iter().find(|(_, value)| value.contains_unknown())?;
        Some(Diagnostic::error(
            codes::program::UNKNOWN_VALUE,
            format!("property `{name}` of `{urn}` is still unknown during an update"),
        ))
    }
}

/// Whether the provider may have acted although it gave no good answer.
fn is_unresolved(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::Unknown { .. } | ProviderError::Cancelled
    )
}

/// A failed provider call, told about its resource.
pub(crate) fn provider_diagnostic(verb: &str, urn: &Urn, error: &ProviderError) -> Diagnostic {
    let (code, what) = if is_unresolved(error) {
        (codes::program::OUTCOME_UNKNOWN, "the outcome of")
    } else {
        (codes::program::STEP_FAILED, "could not")
    };
    let message = if is_unresolved(error) {
        format!("{what} {verb} is unknown for `{urn}`")
    } else {
        format!("{what} {verb} `{urn}`")
    };
    with_hints(Diagnostic::error(code, message).caused_by(error), error)
}

/// Outputs become secret when an option says so, or when the input of the same name is secret.
pub(crate) fn mark_secrets(resource: &mut ResourceState) {
    for (name, value) in &mut resource.outputs {
        let by_option = resource.additional_secret_outputs.contains(name) && name != "id";
        let by_input = resource
            .inputs
            .get(name)
            .is_some_and(Value::contains_secret);
        if by_option || by_input {
            *value = std::mem::take(value).into_secret();
        }
    }
}
