//! The changing steps of a registration: create, update, replace, import.

use std::sync::Arc;

use lockgate_diag::{Diagnostic, codes};
use lockgate_model::{EntryId, PendingOperation, PropertyMap, ResourceState, StepOp, Urn};

use crate::decide::Verdict;
use crate::engine::{Engine, Fate, Live};
use crate::event::StepEvent;
use crate::exec::{Outcome, StepCall, mark_secrets, provider_diagnostic};
use crate::goal::{Goal, live_of};
use crate::journal::displace;
use crate::pending::Interrupted;
use crate::provider::{ReadRequest, ReadResponse};
use crate::registry::ProviderHandle;
use crate::show;
use crate::source::{MonitorError, Registered};

impl Engine {
    /// Creates a resource.
    pub(crate) async fn create(
        &self,
        goal: &Goal,
        handle: &ProviderHandle,
        placeholder: Option<usize>,
        inputs: PropertyMap,
    ) -> Result<Registered, MonitorError> {
        let (op, remove) = match placeholder {
            Some(index) => (StepOp::CreateReplacement, vec![self.old(index).0]),
            None => (StepOp::Create, Vec::new()),
        };
        let state = goal.state(inputs);
        let event = show::goal_step(op, goal, None, Some(&state));
        self.begin_step(&event, &state)?;
        let call = StepCall {
            handle,
            key: None,
            remove,
            resolves: None,
            remember: None,
        };
        let outcome = self.create_remote(call, state).await?;
        if let Some(index) = placeholder {
            self.settle_old(index, &outcome, Fate::Settled);
        }
        self.conclude_step(goal, event, outcome, placeholder.is_some())
    }

    /// Creates under the key of a lost attempt whose repeat was refused. Since the provider may
    /// have found what that one made, the entry gets its inputs and is compared like an old one.
    /// The index of the entry.
    pub(crate) async fn create_again(
        &self,
        goal: &Goal,
        handle: &ProviderHandle,
        lost: &PendingOperation,
        inputs: PropertyMap,
    ) -> Result<usize, MonitorError> {
        let state = goal.state(inputs);
        let event = show::goal_step(StepOp::Create, goal, None, Some(&state));
        self.begin_step(&event, &state)?;
        let call = StepCall {
            handle,
            key: Some(lost.idempotency_key.clone()),
            remove: goal
                .old
                .map(|index| self.old(index).0)
                .into_iter()
                .collect(),
            resolves: None,
            remember: Some(lost.resource.inputs.clone()),
        };
        let outcome = self.create_remote(call, state).await?;
        if let Some(placeholder) = goal.old {
            self.settle_old(placeholder, &outcome, Fate::Settled);
        }
        match outcome {
            Outcome::Done(entry, state) | Outcome::Partial(entry, state, _) => {
                self.step_done(event);
                Ok(self.push_old(entry, state, Fate::Waiting))
            }
            Outcome::Failed(diagnostic) | Outcome::Unresolved(diagnostic) => {
                Err(self.step_failed(event, diagnostic))
            }
        }
    }

    /// Changes a resource in place.
    pub(crate) async fn update(
        &self,
        goal: &Goal,
        handle: &ProviderHandle,
        index: usize,
        inputs: PropertyMap,
        verdict: &Verdict,
    ) -> Result<Registered, MonitorError> {
        let (id, old) = self.old(index);
        let state = goal.state_after(&old, inputs);
        let event = show::goal_step(StepOp::Update, goal, Some(&old), Some(&state));
        let event = show::step_with(event, verdict);
        self.begin_step(&event, &state)?;
        // The same key only for the same request.
        let key = match self.interrupted(&old) {
            Some(Interrupted::Update(sent, key)) if sent.inputs == state.inputs => Some(key),
            _ => None,
        };
        let call = StepCall {
            handle,
            key,
            remove: vec![id],
            resolves: None,
            remember: None,
        };
        let outcome = self.update_remote(call, &old, state).await?;
        self.settle_old(index, &outcome, Fate::Settled);
        if matches!(outcome, Outcome::Done(..) | Outcome::Partial(..)) {
            self.settle_interrupted(&old).await?;
        }
        self.conclude_step(goal, event, outcome, false)
    }

    /// Replaces a resource: the new one first, unless the program or the provider says otherwise.
    pub(crate) async fn replace(
        &self,
        goal: &Goal,
        handle: &ProviderHandle,
        index: usize,
        verdict: &Verdict,
    ) -> Result<Registered, MonitorError> {
        let (_, old) = self.old(index);
        let state = goal.state(goal.inputs.clone());
        let summary = show::goal_step(StepOp::Replace, goal, Some(&old), Some(&state));
        let summary = show::step_with(summary, verdict);
        if let Some(diagnostic) = refuse_replacement(goal, &old, verdict) {
            return Err(self.step_failed(summary, diagnostic));
        }
        let mut inputs = goal.inputs.clone();
        self.ignore_changes(goal, Some(&old), &mut inputs);
        let inputs = self.check_inputs(goal, handle, inputs, None).await?;
        let state = goal.state(inputs);
        let mut event = summary.clone();
        event.op = StepOp::CreateReplacement;
        event.logical = false;
        if let Err(diagnostic) = self.decide(&goal.urn, StepOp::Replace, &state.inputs) {
            return Err(self.step_failed(summary, diagnostic));
        }
        let interrupted_delete = self.interrupted(&old) == Some(Interrupted::Delete);
        let delete_first = interrupted_delete
            || goal
                .options
                .delete_before_replace
                .unwrap_or(verdict.delete_first);
        let remove = if delete_first {
            vec![self.delete_before(goal, index).await?]
        } else {
            self.displace_old(goal, index).await?;
            Vec::new()
        };
        self.begin_step(&event, &state)?;
        let call = StepCall {
            handle,
            key: None,
            remove,
            resolves: None,
            remember: None,
        };
        let outcome = self.create_remote(call, state).await?;
        let fate = if delete_first {
            Fate::Settled
        } else {
            Fate::Displaced
        };
        self.settle_old(index, &outcome, fate);
        let registered = self.conclude_step(goal, event, outcome, true)?;
        self.step_start(&summary);
        self.step_done(summary);
        Ok(registered)
    }

    /// Prepares an old entry for being displaced by one with the URN of the goal: an entry found
    /// under an earlier URN takes the new one, so that the two are seen to belong together.
    pub(crate) async fn displace_old(&self, goal: &Goal, index: usize) -> Result<(), MonitorError> {
        let (id, old) = self.old(index);
        if old.urn.as_ref() == Some(&goal.urn) {
            return Ok(());
        }
        let mut renamed = (*old).clone();
        renamed.urn = Some(goal.urn.clone());
        let entry = self.next_entry();
        self.write_entry(vec![id], Some((entry, Arc::new(renamed.clone()))))
            .await?;
        let mut run = self.state.lock();
        run.olds[index].id = entry;
        run.olds[index].state = Arc::new(renamed);
        Ok(())
    }

    /// What becomes of the old entry once the step on it has ended well.
    fn settle_old(&self, index: usize, outcome: &Outcome, fate: Fate) {
        if !matches!(outcome, Outcome::Done(..) | Outcome::Partial(..)) {
            return;
        }
        let mut run = self.state.lock();
        let entry = &mut run.olds[index];
        entry.fate = fate;
        if fate == Fate::Displaced {
            entry.state = Arc::new(displace(&entry.state));
        }
    }

    fn begin_step(&self, event: &StepEvent, state: &ResourceState) -> Result<(), MonitorError> {
        if let Err(diagnostic) = self.decide(&event.urn, event.op, &state.inputs) {
            return Err(self.step_failed(event.clone(), diagnostic));
        }
        self.step_start(event);
        Ok(())
    }

    /// Tells how a step ended and settles the resource if there is one now.
    fn conclude_step(
        &self,
        goal: &Goal,
        mut event: StepEvent,
        outcome: Outcome,
        replaced: bool,
    ) -> Result<Registered, MonitorError> {
        let (entry, state, problem) = match outcome {
            Outcome::Done(entry, state) => (entry, state, None),
            Outcome::Partial(entry, state, diagnostic) => (entry, state, Some(diagnostic)),
            Outcome::Failed(diagnostic) | Outcome::Unresolved(diagnostic) => {
                return Err(self.step_failed(event, diagnostic));
            }
        };
        event.id.clone_from(&state.id);
        if let Some(new) = &mut event.new {
            new.outputs.clone_from(&state.outputs);
        }
        let pending = state.id.is_empty();
        let live = Live {
            entry: Some(entry),
            replaced,
            pending,
            ..live_of(goal, state)
        };
        let registered = self.settle(&goal.urn, live);
        match problem {
            Some(diagnostic) => Err(self.step_failed(event, diagnostic)),
            None => {
                self.step_done(event);
                Ok(registered)
            }
        }
    }

    /// The id to import, when the program names one that the state does not have yet.
    pub(crate) fn import_wanted(&self, goal: &Goal) -> Option<String> {
        let id = goal
            .options
            .import_id
            .as_ref()
            .filter(|id| !id.is_empty())?;
        let old = goal.old.map(|index| self.old(index).1);
        let known = old.is_some_and(|old| {
            !crate::exec::is_placeholder(&old) && (old.import_id == *id || old.id == *id)
        });
        (!known).then(|| id.clone())
    }

    /// Takes an existing resource over. The index of its entry, which then counts as old.
    pub(crate) async fn import(
        &self,
        goal: &Goal,
        handle: &ProviderHandle,
        id: &str,
    ) -> Result<usize, MonitorError> {
        let op = match goal.old {
            Some(_) => StepOp::ImportReplacement,
            None => StepOp::Import,
        };
        let mut state = goal.state(goal.inputs.clone());
        state.id = id.to_owned();
        let event = show::goal_step(op, goal, None, Some(&state));
        self.begin_step(&event, &state)?;
        let read = self
            .read_back(
                &goal.urn,
                handle,
                id,
                PropertyMap::new(),
                PropertyMap::new(),
            )
            .await;
        let read = match read {
            Ok(Some(read)) => read,
            Ok(None) => {
                let diagnostic = missing(&goal.urn, id);
                return Err(self.step_failed(event, diagnostic));
            }
            Err(diagnostic) => return Err(self.step_failed(event, *diagnostic)),
        };
        state.id = read.id;
        state.inputs = read.inputs.unwrap_or_else(|| goal.inputs.clone());
        state.outputs = read.outputs;
        state.created = Some(self.clock.now());
        state.modified = state.created;
        mark_secrets(&mut state);
        let mut remove = Vec::new();
        if let Some(old) = goal.old {
            remove = self.give_way(goal, old).await?;
        }
        let (entry, state) = (self.next_entry(), Arc::new(state));
        self.write_entry(remove, Some((entry, Arc::clone(&state))))
            .await?;
        self.step_done(event);
        Ok(self.push_old(entry, state, Fate::Waiting))
    }

    /// Lets an old entry give way to a new one: forgotten at once if it stands for nothing,
    /// else deleted at the end. The entries to be removed.
    pub(crate) async fn give_way(
        &self,
        goal: &Goal,
        index: usize,
    ) -> Result<Vec<EntryId>, MonitorError> {
        let (id, old) = self.old(index);
        if crate::exec::is_placeholder(&old) {
            self.set_fate(index, Fate::Settled);
            return Ok(vec![id]);
        }
        self.displace_old(goal, index).await?;
        let mut run = self.state.lock();
        let entry = &mut run.olds[index];
        entry.fate = Fate::Displaced;
        entry.state = Arc::new(displace(&entry.state));
        Ok(Vec::new())
    }

    /// Reads a resource. `None` when it is gone, or not known yet in a preview.
    pub(crate) async fn read_back(
        &self,
        urn: &Urn,
        handle: &ProviderHandle,
        id: &str,
        inputs: PropertyMap,
        outputs: PropertyMap,
    ) -> Result<Option<ReadResponse>, Box<Diagnostic>> {
        let ProviderHandle::Ready(provider) = handle else {
            return Ok(Some(ReadResponse {
                id: id.to_owned(),
                ..ReadResponse::default()
            }));
        };
        let request = ReadRequest {
            id: id.to_owned(),
            inputs,
            outputs,
        };
        provider
            .read(&self.call_context(urn), request)
            .await
            .map(|read| read.filter(|read| !read.id.is_empty()))
            .map_err(|error| Box::new(provider_diagnostic("read", urn, &error)))
    }
}

/// A resource that should exist and does not.
pub(crate) fn missing(urn: &Urn, id: &str) -> Diagnostic {
    Diagnostic::error(
        codes::program::READ_FAILED,
        format!("`{urn}` was to be read under the id `{id}`, which does not exist"),
    )
}

fn refuse_replacement(goal: &Goal, old: &ResourceState, verdict: &Verdict) -> Option<Diagnostic> {
    let why = verdict.replaces.join(", ");
    if old.protect && goal.options.protect == Some(true) {
        return Some(
            Diagnostic::error(
                codes::program::PROTECTED,
                format!("`{}` must be replaced ({why}) but is protected", goal.urn),
            )
            .hint("remove `protect` from the resource, run `lockgate up`, then make the change"),
        );
    }
    if goal
        .options
        .import_id
        .as_ref()
        .is_some_and(|id| *id == old.id)
    {
        return Some(
            Diagnostic::error(
                codes::program::BAD_OPTION,
                format!(
                    "`{}` must be replaced ({why}) but has the option `import`",
                    goal.urn
                ),
            )
            .hint(
                "remove `import` from the resource, or change its properties to the imported ones",
            ),
        );
    }
    None
}
