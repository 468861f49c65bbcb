//! Deletes, after the program has ended well: everything that no registration continued and
//! everything whose replacement exists, each as soon as nothing depends on it any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lockgate_diag::{Diagnostic, codes};
use lockgate_model::{EntryId, PropertyMap, ResourceState, StepOp, Urn};

use crate::engine::{Engine, Fate, OldEntry};
use crate::exec::is_placeholder;
use crate::integrity::references;
use crate::registry::{ProviderHandle, is_provider_type};
use crate::run::{DeleteGuard, Operation};
use crate::show;
use crate::source::MonitorError;

/// An entry to be deleted.
struct Doomed {
    index: usize,
    id: EntryId,
    state: Arc<ResourceState>,
    urn: Urn,
    op: StepOp,
}

/// What waits for what.
struct Order {
    /// How many dependents are still there.
    waiting: Vec<usize>,
    /// Which entries each one depends on.
    referents: Vec<Vec<usize>>,
}

impl Engine {
    /// Deletes, if this run may. Nothing is deleted unless everything before went well.
    pub(crate) async fn delete_phase(self: &Arc<Self>) {
        let may_delete = !self.has_failed() && !self.is_halted();
        if !may_delete {
            return;
        }
        // Failures were reported where they happened.
        if self.adopt_unwanted().await.is_err() {
            return;
        }
        let doomed = self.choose_doomed();
        if !self.check_guard(&doomed) || !self.check_target_dependents(&doomed) {
            return;
        }
        let order = order(&doomed);
        self.delete_all(doomed, order).await;
    }

    fn choose_doomed(&self) -> Vec<Doomed> {
        let state = self.state.lock();
        let spared = self.spared(&state.olds);
        let wanted = |entry: &ResourceState| {
            let urn = entry.urn.as_ref()?;
            // What counts as a target because it depends on one may have been replaced.
            let chosen = self.scope.contains(urn) || state.reached.contains(urn);
            (chosen && !spared.contains(urn)).then(|| urn.clone())
        };
        let mut doomed: Vec<Doomed> = state
            .olds
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.fate != Fate::Settled)
            .filter_map(|(index, entry)| {
                Some(Doomed {
                    index,
                    id: entry.id,
                    urn: wanted(&entry.state)?,
                    op: delete_op(&entry.state),
                    state: Arc::clone(&entry.state),
                })
            })
            .collect();
        drop(state);
        if !self.scope.targets.is_empty() && self.options.target_dependents {
            self.add_dependents(&mut doomed);
        }
        doomed
    }

    /// What stays because of the excludes: the excluded, if asked for what depends on them, and
    /// everything that those need.
    fn spared(&self, olds: &[OldEntry]) -> HashSet<Urn> {
        let mut spared = HashSet::new();
        if self.scope.excludes.is_empty() {
            return spared;
        }
        let states = || olds.iter().map(|entry| &*entry.state);
        for state in states() {
            let Some(urn) = &state.urn else { continue };
            let depends = self.options.exclude_dependents
                && references(state).any(|(to, _)| spared.contains(&to));
            if depends || self.scope.excludes.matches(urn) {
                spared.insert(urn.clone());
            }
        }
        // Entries come after what they refer to, so one pass from the end finds all of it.
        for state in states().rev() {
            if state.urn.as_ref().is_some_and(|urn| spared.contains(urn)) {
                spared.extend(references(state).map(|(to, _)| to));
            }
        }
        spared
    }

    /// In a targeted run what depends on a deleted entry goes too, if that was asked for.
    fn add_dependents(&self, doomed: &mut Vec<Doomed>) {
        let state = self.state.lock();
        let mut gone: HashSet<Urn> = doomed.iter().map(|d| d.urn.clone()).collect();
        let mut listed: HashSet<usize> = doomed.iter().map(|d| d.index).collect();
        for (index, entry) in state.olds.iter().enumerate() {
            let depends = references(&entry.state).any(|(urn, _)| gone.contains(&urn));
            let Some(urn) = entry.state.urn.clone() else {
                continue;
            };
            let out = self.scope.excludes.matches(&urn);
            if entry.fate == Fate::Settled || out || !depends || !listed.insert(index) {
                continue;
            }
            gone.insert(urn.clone());
            doomed.push(Doomed {
                index,
                id: entry.id,
                urn,
                op: delete_op(&entry.state),
                state: Arc::clone(&entry.state),
            });
        }
        doomed.sort_by_key(|d| d.index);
    }

    /// Whether the run stays below the delete guard.
    fn check_guard(&self, doomed: &[Doomed]) -> bool {
        let is_update = matches!(self.operation, Operation::Up | Operation::Preview);
        let Some(guard) = self.options.delete_guard.filter(|_| is_update) else {
            return true;
        };
        let is_counted = |state: &ResourceState| state.custom && !state.is_provider();
        let deletes: Vec<&Doomed> = doomed
            .iter()
            .filter(|d| d.op == StepOp::Delete && is_counted(&d.state))
            .collect();
        let all = self.base.resources.iter();
        let managed = all.filter(|state| is_counted(state)).count();
        let count = deletes.len() as u64;
        if !exceeds(guard, count, managed as u64) {
            return true;
        }
        let mut diagnostic = Diagnostic::error(
            codes::program::DELETE_GUARD,
            format!("{count} of {managed} resources would be deleted"),
        )
        .hint("run with `--allow-deletes` if they are meant");
        for doomed in deletes.iter().take(LISTED_MAX) {
            diagnostic = diagnostic.cause(format!("`{}` is not in the program", doomed.urn));
        }
        self.report(diagnostic);
        false
    }

    /// In a targeted run nothing that stays may depend on what goes.
    fn check_target_dependents(&self, doomed: &[Doomed]) -> bool {
        if self.scope.is_whole() {
            return true;
        }
        let listed: HashSet<usize> = doomed.iter().map(|d| d.index).collect();
        let gone: HashSet<Urn> = doomed
            .iter()
            .filter(|d| d.op == StepOp::Delete)
            .map(|d| d.urn.clone())
            .collect();
        let blocked: Vec<(Urn, Urn)> = {
            let state = self.state.lock();
            let waiting = state
                .olds
                .iter()
                .enumerate()
                .filter(|(index, entry)| entry.fate != Fate::Settled && !listed.contains(index))
                .map(|(_, entry)| Arc::clone(&entry.state));
            let live = state.live.values().map(|live| Arc::clone(&live.state));
            waiting
                .chain(live)
                .filter_map(|entry| {
                    let mut refs = references(&entry);
                    let (target, _) = refs.find(|(urn, _)| gone.contains(urn))?;
                    Some((entry.urn.clone()?, target))
                })
                .collect()
        };
        for (dependent, target) in &blocked {
            self.report(
                Diagnostic::error(
                    codes::program::TARGET_DEPENDENCY,
                    format!("`{target}` cannot be deleted: `{dependent}` depends on it"),
                )
                .hint("run with `--target-dependents` to delete both"),
            );
        }
        blocked.is_empty()
    }

    async fn delete_all(&self, doomed: Vec<Doomed>, mut order: Order) {
        let gone: HashSet<Urn> = doomed
            .iter()
            .filter(|d| d.op == StepOp::Delete)
            .map(|d| d.urn.clone())
            .collect();
        let mut running = FuturesUnordered::new();
        let mut ready: Vec<usize> = (0..doomed.len())
            .rev()
            .filter(|index| order.waiting[*index] == 0)
            .collect();
        loop {
            for index in ready.drain(..) {
                let doomed = &doomed[index];
                let gone = &gone;
                running.push(async move { (index, self.delete_one(doomed, gone).await) });
            }
            let Some((index, result)) = running.next().await else {
                return;
            };
            // What a failed delete depends on must stay.
            if result.is_ok() {
                for referent in std::mem::take(&mut order.referents[index]) {
                    order.waiting[referent] -= 1;
                    if order.waiting[referent] == 0 {
                        ready.push(referent);
                    }
                }
            }
        }
    }

    async fn delete_one(&self, doomed: &Doomed, gone: &HashSet<Urn>) -> Result<(), MonitorError> {
        self.go()?;
        let old = &doomed.state;
        let mut event = show::step(doomed.op, &doomed.urn, Some(old), None);
        if old.protect && !old.pending_replacement {
            let diagnostic = Diagnostic::error(
                codes::program::PROTECTED,
                format!("`{}` cannot be deleted: it is protected", doomed.urn),
            )
            .hint("set `protect` to false and run `lockgate up`, then delete it");
            // Other deletes go on, so that one run names every protected resource.
            self.state.lock().failed = true;
            self.emit(crate::event::EngineEvent::StepFailed {
                step: Box::new(event),
                diagnostic: Box::new(diagnostic.clone()),
            });
            return Err(MonitorError::Failed(diagnostic.message));
        }
        if let Err(diagnostic) = self.decide(&doomed.urn, doomed.op, &PropertyMap::new()) {
            return Err(self.step_failed(event, diagnostic));
        }
        self.step_start(&event);
        let started = self.clock.monotonic();
        let goes_along = old
            .deleted_with
            .as_ref()
            .is_some_and(|urn| gone.contains(urn));
        let no_call = self.is_preview()
            || goes_along
            || old.retain_on_delete
            || !old.custom
            || is_placeholder(old)
            || is_provider_type(old.type_token());
        if no_call {
            self.write_entry(vec![doomed.id], None).await?;
            self.settle_interrupted(old).await?;
        } else {
            let handle = self.handle(&old.provider, Some(&doomed.urn)).await?;
            let ProviderHandle::Ready(provider) = handle else {
                return Err(self.report_error(
                    codes::program::PROVIDER_MISSING,
                    format!(
                        "`{}` cannot be deleted: its provider has unknown settings",
                        doomed.urn
                    ),
                ));
            };
            let deleted = self.delete_remote(&*provider, doomed.id, old, None).await?;
            if let Err(diagnostic) = deleted {
                return Err(self.step_failed(event, diagnostic));
            }
        }
        self.set_fate(doomed.index, Fate::Settled);
        event.duration = Some(self.clock.monotonic().saturating_sub(started));
        self.step_done(event);
        Ok(())
    }
}

/// Most deletes that the guard lists.
const LISTED_MAX: usize = 20;

fn exceeds(guard: DeleteGuard, count: u64, managed: u64) -> bool {
    let share = count as f64 / managed.max(1) as f64;
    guard.count_max.is_some_and(|max| count > max)
        || guard.share_max.is_some_and(|max| count > 0 && share > max)
}

/// How the removal of an entry is called.
fn delete_op(state: &ResourceState) -> StepOp {
    match (state.pending_replacement, state.external, state.delete) {
        (true, _, _) => StepOp::RemovePendingReplace,
        (_, true, true) => StepOp::DiscardReplaced,
        (_, true, false) => StepOp::Discard,
        (_, false, true) => StepOp::DeleteReplaced,
        (_, false, false) => StepOp::Delete,
    }
}

/// Dependents go before what they depend on. A reference means every entry of that URN that comes
/// before the one that refers, so the graph has no cycle.
fn order(doomed: &[Doomed]) -> Order {
    let mut order = Order {
        waiting: vec![0; doomed.len()],
        referents: vec![Vec::new(); doomed.len()],
    };
    let mut before: HashMap<&Urn, Vec<usize>> = HashMap::new();
    for (index, entry) in doomed.iter().enumerate() {
        let mut targets: Vec<usize> = references(&entry.state)
            .filter_map(|(urn, _)| before.get(&urn))
            .flatten()
            .copied()
            .collect();
        targets.sort_unstable();
        targets.dedup();
        for target in &targets {
            order.waiting[*target] += 1;
        }
        order.referents[index] = targets;
        before.entry(&entry.urn).or_default().push(index);
    }
    order
}
