//! The life of one registration (engine guide, section 11.1).

use std::sync::Arc;

use lockgate_diag::{Diagnostic, codes};
use lockgate_model::{EntryId, JournalEntry, PropertyMap, ResourceState, StepOp, Urn};

use crate::diff;
use crate::engine::{Engine, Fate, Live};
use crate::exec::{is_placeholder, mark_secrets};
use crate::goal::{Goal, live_of};
use crate::journal::Durability;
use crate::pending::Adopted;
use crate::registry::ProviderHandle;
use crate::show;
use crate::source::{MonitorError, Registered, Registration};

impl Engine {
    /// Registers in a task of its own, so that a caller that goes away cuts no step in two.
    pub(crate) async fn register(
        self: Arc<Self>,
        registration: Registration,
    ) -> Result<Registered, MonitorError> {
        let engine = Arc::clone(&self);
        let task = self
            .tasks
            .spawn(async move { engine.register_now(registration).await });
        match task.await {
            Ok(result) => result,
            Err(error) => Err(self.report(
                Diagnostic::error(codes::program::ENGINE_BUG, "a registration broke off")
                    .caused_by(&error),
            )),
        }
    }

    pub(crate) async fn register_now(
        self: &Arc<Self>,
        registration: Registration,
    ) -> Result<Registered, MonitorError> {
        let type_token = registration.type_token.clone();
        let mut goal = self.claim(registration).await?;
        if !goal.custom {
            return self.settle_component(goal).await;
        }
        goal.provider = self
            .choose_provider(
                &type_token,
                goal.options.provider.as_deref(),
                &goal.providers,
                goal.options.version.as_deref(),
            )
            .await?;
        let handle = self.handle_of(&goal).await?;
        if !goal.targeted {
            return self.settle_untargeted(&goal).await;
        }
        self.check_dependencies_exist(&goal)?;
        self.settle_custom(goal, &handle).await
    }

    async fn settle_custom(
        self: &Arc<Self>,
        mut goal: Goal,
        handle: &ProviderHandle,
    ) -> Result<Registered, MonitorError> {
        let mut retry = None;
        match self.adopt(&goal.urn, goal.old, handle).await? {
            Adopted::Nothing => {}
            Adopted::Entry(index) => goal.old = Some(index),
            Adopted::Retry(lost) => retry = Some(lost),
        }
        if let Some(id) = self.import_wanted(&goal) {
            goal.old = Some(self.import(&goal, handle, &id).await?);
        }
        let mut old = goal.old.map(|index| self.old(index).1);
        let comparable = old.as_deref().filter(|old| !is_placeholder(old));
        let mut inputs = goal.inputs.clone();
        self.ignore_changes(&goal, comparable, &mut inputs);
        let forced = self.replace.matches(&goal.urn);
        let old_inputs = comparable.filter(|_| !forced).map(|old| old.inputs.clone());
        let inputs = self.check_inputs(&goal, handle, inputs, old_inputs).await?;
        if let Some(lost) = retry {
            let index = self
                .create_again(&goal, handle, &lost, inputs.clone())
                .await?;
            goal.old = Some(index);
            old = Some(self.old(index).1);
        }
        match (goal.old, old) {
            (Some(index), Some(old)) if !is_placeholder(&old) => {
                let verdict = self.verdict(&goal, handle, &old, &inputs).await?;
                if !verdict.replaces.is_empty() {
                    self.replace(&goal, handle, index, &verdict).await
                } else if verdict.changed {
                    self.update(&goal, handle, index, inputs, &verdict).await
                } else {
                    self.same(&goal, index, inputs).await
                }
            }
            (placeholder, _) => self.create(&goal, handle, placeholder, inputs).await,
        }
    }

    /// Nothing changes for the provider; what the engine keeps about the resource may.
    pub(crate) async fn same(
        &self,
        goal: &Goal,
        index: usize,
        inputs: PropertyMap,
    ) -> Result<Registered, MonitorError> {
        let (id, old) = self.old(index);
        self.decide(&goal.urn, StepOp::Same, &inputs)
            .map_err(|diagnostic| self.report(diagnostic))?;
        let mut state = goal.state_after(&old, inputs);
        mark_secrets(&mut state);
        let (entry, state) = self.keep_or_rewrite(id, &old, state).await?;
        self.set_fate(index, Fate::Settled);
        self.step_done(show::goal_step(StepOp::Same, goal, None, Some(&state)));
        let live = Live {
            entry: Some(entry),
            ..live_of(goal, state)
        };
        Ok(self.settle(&goal.urn, live))
    }

    async fn keep_or_rewrite(
        &self,
        id: EntryId,
        old: &Arc<ResourceState>,
        state: ResourceState,
    ) -> Result<(EntryId, Arc<ResourceState>), MonitorError> {
        let is_base = id.0 < self.base.resources.len() as u64;
        if state == **old {
            if is_base {
                let keep = vec![JournalEntry::Keep { entry: id }];
                self.record(keep, Durability::Queued).await?;
            }
            return Ok((id, Arc::clone(old)));
        }
        let (entry, state) = (self.next_entry(), Arc::new(state));
        self.write_entry(vec![id], Some((entry, Arc::clone(&state))))
            .await?;
        Ok((entry, state))
    }

    async fn settle_component(self: &Arc<Self>, goal: Goal) -> Result<Registered, MonitorError> {
        let old = goal.old.map(|index| (index, self.old(index)));
        let Some((index, (id, old))) = old else {
            let state = goal.state(goal.inputs.clone());
            return self
                .write_component(&goal, state, (Vec::new(), None), StepOp::Create)
                .await;
        };
        if old.custom {
            // A managed resource gives way to a component: it is deleted at the end.
            let remove = self.give_way(&goal, index).await?;
            let state = goal.state(goal.inputs.clone());
            return self
                .write_component(&goal, state, (remove, None), StepOp::CreateReplacement)
                .await;
        }
        if goal.targeted && !diff::same_maps(&old.inputs, &goal.inputs) {
            let state = goal.state_after(&old, goal.inputs.clone());
            self.set_fate(index, Fate::Settled);
            return self
                .write_component(&goal, state, (vec![id], Some(&old)), StepOp::Update)
                .await;
        }
        let inputs = if goal.targeted {
            goal.inputs.clone()
        } else {
            old.inputs.clone()
        };
        self.same(&goal, index, inputs).await
    }

    async fn write_component(
        &self,
        goal: &Goal,
        mut state: ResourceState,
        (remove, old): (Vec<EntryId>, Option<&ResourceState>),
        op: StepOp,
    ) -> Result<Registered, MonitorError> {
        if !goal.targeted {
            return Ok(self.skip(goal));
        }
        let mut event = show::goal_step(op, goal, old, Some(&state));
        if let Err(diagnostic) = self.decide(&goal.urn, op, &state.inputs) {
            return Err(self.step_failed(event, diagnostic));
        }
        self.step_start(&event);
        state.modified = Some(self.clock.now());
        state.created = state.created.or(state.modified);
        let entry = self.next_entry();
        self.write_entry(remove, Some((entry, Arc::new(state.clone()))))
            .await?;
        event.duration = Some(std::time::Duration::ZERO);
        self.step_done(event);
        let live = Live {
            entry: Some(entry),
            ..live_of(goal, Arc::new(state))
        };
        Ok(self.settle(&goal.urn, live))
    }

    /// A resource outside the targets stays as it is; a new one is skipped.
    async fn settle_untargeted(&self, goal: &Goal) -> Result<Registered, MonitorError> {
        let Some(index) = goal.old else {
            return Ok(self.skip(goal));
        };
        let (id, old) = self.old(index);
        // References are the program's: the old ones could lead in a circle with those of the
        // targets.
        let wanted = goal.state(PropertyMap::new());
        let mut state = ResourceState {
            urn: wanted.urn,
            parent: wanted.parent,
            dependencies: wanted.dependencies,
            property_dependencies: goal.property_dependencies.clone(),
            deleted_with: wanted.deleted_with,
            ..(*old).clone()
        };
        {
            let run = self.state.lock();
            crate::references::retain(&mut state, &|urn| {
                run.live.get(urn).is_none_or(|live| !live.skipped)
            });
        }
        let (entry, state) = self.keep_or_rewrite(id, &old, state).await?;
        self.set_fate(index, Fate::Settled);
        self.step_done(show::goal_step(StepOp::Same, goal, None, Some(&state)));
        let live = Live {
            entry: Some(entry),
            ..live_of(goal, state)
        };
        Ok(self.settle(&goal.urn, live))
    }

    fn skip(&self, goal: &Goal) -> Registered {
        let mut state = goal.state(goal.inputs.clone());
        state.outputs = goal.inputs.clone();
        let live = Live {
            pending: true,
            skipped: true,
            ..live_of(goal, Arc::new(state))
        };
        self.settle(&goal.urn, live)
    }

    /// A target cannot depend on something that a targeted run skips.
    fn check_dependencies_exist(&self, goal: &Goal) -> Result<(), MonitorError> {
        let skipped = {
            let state = self.state.lock();
            let parent = goal.options.parent.iter();
            parent
                .chain(&goal.options.depends_on)
                .find(|urn| state.live.get(*urn).is_some_and(|live| live.skipped))
                .cloned()
        };
        let Some(skipped) = skipped else {
            return Ok(());
        };
        let hint = match self.scope.targets.is_empty() {
            true => "leave it out as well with `--exclude-dependents`".to_owned(),
            false => format!("add `--target '{skipped}'`"),
        };
        Err(self.report(
            Diagnostic::error(
                codes::program::TARGET_DEPENDENCY,
                format!("`{}` needs `{skipped}`, which does not exist yet", goal.urn),
            )
            .hint(hint),
        ))
    }

    /// Makes a resource visible to the rest of the run.
    pub(crate) fn settle(&self, urn: &Urn, live: Live) -> Registered {
        let registered = Registered {
            urn: Some(urn.clone()),
            id: live.state.id.clone(),
            id_unknown: live.state.custom && live.state.id.is_empty(),
            outputs: if live.state.custom {
                live.state.outputs.clone()
            } else {
                PropertyMap::new()
            },
        };
        let mut state = self.state.lock();
        if live.pending {
            // Whoever waits for a component waits for everything in it.
            let mut parent = live.state.parent.clone();
            while let Some(ancestor) = parent.and_then(|urn| state.live.get_mut(&urn)) {
                ancestor.pending |= !ancestor.state.custom;
                parent = ancestor.state.parent.clone();
            }
        }
        state.live.insert(urn.clone(), live);
        registered
    }
}
