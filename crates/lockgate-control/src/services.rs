//! Use cases of services: roll out, remove, look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use lockgate_diag::{Diagnostic, codes};
use lockgate_model::Timestamp;
use lockgate_model::service::{ServiceId, ServiceSpec, ServiceStatus};
use lockgate_service::{Instance, LogCursor, LogFrom, LogStream};
use lockgate_store::{Change, StoredService};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::check::{check_room, check_service, check_service_unused, refuse};
use crate::replica::StartFailure;
use crate::state::{Version, swap_entry};
use crate::{Caller, ControlError, Shared};

/// Orders the operations on one service and remembers the versions that are draining.
#[derive(Default)]
pub(crate) struct Slot {
    turn: tokio::sync::Mutex<()>,
    retired: Mutex<Vec<Arc<Version>>>,
}

impl Shared {
    /// The slot of a service. Its holders are counted by the `Arc`, so that an idle one can go.
    fn slot(&self, id: &ServiceId) -> Arc<Slot> {
        Arc::clone(self.slots.lock().entry(id.clone()).or_default())
    }

    /// Drops the slot when nobody else holds it; new holders come only through the map's lock.
    fn release_slot(&self, id: &ServiceId, slot: Arc<Slot>) {
        let mut slots = self.slots.lock();
        let idle = slot.retired.lock().is_empty() && Arc::strong_count(&slot) == 2;
        if idle {
            slots.remove(id);
        }
    }

    /// Brings a service to `spec` and returns once the new version serves. The old one drains in
    /// the background. On failure the old version has served all along.
    pub(crate) async fn apply_service(
        self: Arc<Self>,
        caller: Caller,
        spec: ServiceSpec,
        progress: mpsc::Sender<String>,
    ) -> Result<ServiceStatus, ControlError> {
        check_service(&spec).map_err(ControlError::Invalid)?;
        let id = spec.id.clone();
        let slot = self.slot(&id);
        let outcome = {
            let _turn = slot.turn.lock().await;
            let current = self.state.lock().services.get(&id).cloned();
            if current.as_ref().is_some_and(|version| version.spec == spec) {
                Ok(())
            } else {
                if let Some(digest) = spec.image.digest {
                    self.state.lock().rolling.insert(id.clone(), digest);
                }
                let generation = current.map_or(0, |version| version.generation) + 1;
                let version = Version::new(spec, generation);
                let rolled = self.roll_out(&caller, &slot, version, &progress).await;
                self.state.lock().rolling.remove(&id);
                rolled
            }
        };
        self.release_slot(&id, slot);
        outcome?;
        self.state
            .lock()
            .service_status(&id)
            .ok_or_else(|| not_found(&id))
    }

    async fn roll_out(
        self: &Arc<Self>,
        caller: &Caller,
        slot: &Slot,
        next: Arc<Version>,
        progress: &mpsc::Sender<String>,
    ) -> Result<(), ControlError> {
        let id = next.spec.id.clone();
        if let Err(failure) = self.bring_up_all(&next, progress).await {
            if self.tasks.closing().is_cancelled() {
                return Err(ControlError::Closing);
            }
            return Err(rollout_failed(&id, failure, self.serves(&id)));
        }
        // Watched from here on: an instance that ends between its start and the switch is
        // restarted like any other.
        self.supervise_all(&next);
        say(progress, "switching traffic");
        let change = Change::PutService(Box::new(StoredService {
            spec: next.spec.clone(),
            generation: next.generation,
        }));
        let mut held = Some(Arc::clone(&next));
        let committed = self
            .commit(
                caller,
                &change,
                |state| match state.services.contains_key(&id) {
                    true => Ok(()),
                    false => check_room("service", state.services.len()),
                },
                ControlError::Conflict,
                |state| swap_entry(&mut state.services, &id, &mut held),
            )
            .await;
        if let Err(error) = committed {
            stop_version(&next).await;
            return Err(error);
        }
        if let Some(old) = held {
            say(progress, "draining the old version");
            self.retire(slot, old);
        }
        Ok(())
    }

    fn serves(&self, id: &ServiceId) -> bool {
        self.state.lock().services.contains_key(id)
    }

    /// Starts every replica beside whatever runs. The first failure ends the others.
    async fn bring_up_all(
        &self,
        version: &Version,
        progress: &mpsc::Sender<String>,
    ) -> Result<(), StartFailure> {
        let count = version.replicas.len();
        say(progress, format!("starting {count} instance(s)"));
        let give_up: CancellationToken = self.tasks.closing().child_token();
        let first: Mutex<Option<StartFailure>> = Mutex::default();
        let starts = version.replicas.iter().map(|replica| {
            let (give_up, first) = (&give_up, &first);
            async move {
                let started = self
                    .bring_up(&version.spec, version.generation, give_up)
                    .await;
                match started {
                    Ok(instance) => {
                        say(progress, format!("instance {} is healthy", instance.id));
                        for note in &instance.notes {
                            say(progress, format!("instance {}: {note}", instance.id));
                        }
                        let mut replica = replica.lock();
                        replica.log_source = Some(instance.id.clone());
                        replica.instance = Some(instance);
                        replica.healthy = true;
                    }
                    Err(failure) => {
                        first.lock().get_or_insert(failure);
                        give_up.cancel();
                    }
                }
            }
        });
        join_all(starts).await;
        let Some(failure) = first.into_inner() else {
            return Ok(());
        };
        let take = |replica: &Mutex<crate::state::Replica>| replica.lock().instance.take();
        let started: Vec<Instance> = version.replicas.iter().filter_map(take).collect();
        let deadline = version.spec.rollout.stop_timeout;
        join_all(started.iter().map(|i| self.stop_instance(&i.id, deadline))).await;
        Err(failure)
    }

    /// Gives the open requests of an old version their time, then stops it.
    fn retire(self: &Arc<Self>, slot: &Slot, old: Arc<Version>) {
        old.retired.cancel();
        let mut retired = slot.retired.lock();
        retired.retain(|version| !version.running.is_empty());
        retired.push(Arc::clone(&old));
        let shared = Arc::clone(self);
        self.tasks.spawn("drain", async move {
            tokio::select! {
                () = tokio::time::sleep(old.spec.rollout.drain) => old.stop.cancel(),
                () = old.stop.cancelled() => {}
                () = shared.tasks.closing().cancelled() => {}
            }
        });
    }

    /// Stops and forgets a service, what still drains of it included. It is not drained: no
    /// route may point to it any more, and its program can finish open requests on its stop signal.
    pub(crate) async fn remove_service(
        self: Arc<Self>,
        caller: Caller,
        id: ServiceId,
    ) -> Result<(), ControlError> {
        let slot = self.slot(&id);
        let outcome = {
            let _turn = slot.turn.lock().await;
            self.withdraw(&caller, &slot, &id).await
        };
        self.release_slot(&id, slot);
        outcome
    }

    async fn withdraw(
        &self,
        caller: &Caller,
        slot: &Slot,
        id: &ServiceId,
    ) -> Result<(), ControlError> {
        if self.serves(id) {
            let mut held = None;
            self.commit(
                caller,
                &Change::RemoveService(id.clone()),
                |state| check_service_unused(id, state),
                ControlError::Conflict,
                |state| swap_entry(&mut state.services, id, &mut held),
            )
            .await?;
            slot.retired.lock().extend(held);
        }
        let retired = std::mem::take(&mut *slot.retired.lock());
        join_all(retired.iter().map(|version| stop_version(version))).await;
        Ok(())
    }

    /// Opens the output of a service.
    pub(crate) fn open_logs(
        self: Arc<Self>,
        id: ServiceId,
        lines: usize,
    ) -> Result<LogReader, ControlError> {
        if !self.serves(&id) {
            return Err(not_found(&id));
        }
        Ok(LogReader {
            shared: self,
            id,
            lines,
            cursors: BTreeMap::new(),
        })
    }
}

/// One line that an instance of a service printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLogLine {
    /// The instance.
    pub instance: String,
    /// When it was read from the program.
    pub at: Timestamp,
    /// From standard error; otherwise from standard output.
    pub is_error: bool,
    /// The line without its end.
    pub text: String,
}

/// Reads the output of a service across its instances and rollouts.
pub struct LogReader {
    shared: Arc<Shared>,
    id: ServiceId,
    lines: usize,
    cursors: BTreeMap<String, LogCursor>,
}

impl LogReader {
    /// The last lines of every instance at the first call, then what came since the last call;
    /// at most 1,000 lines per instance. Empty when nothing came.
    pub async fn read(&mut self) -> Vec<ServiceLogLine> {
        let first = self.cursors.is_empty();
        let mut found = Vec::new();
        let mut cursors = BTreeMap::new();
        for instance in self.instances() {
            // An instance that appeared later is read from its beginning.
            let from = match self.cursors.get(&instance) {
                Some(cursor) => LogFrom::After(*cursor),
                None if first => LogFrom::Last(self.lines),
                None => LogFrom::After(LogCursor::default()),
            };
            let Ok(chunk) = self.shared.platform.logs(&instance, from).await else {
                continue;
            };
            found.extend(chunk.lines.into_iter().map(|line| ServiceLogLine {
                instance: instance.clone(),
                at: line.at,
                is_error: line.stream == LogStream::Err,
                text: line.text,
            }));
            cursors.insert(instance, chunk.next);
        }
        self.cursors = cursors;
        found.sort_by_key(|line| line.at);
        found
    }

    fn instances(&self) -> Vec<String> {
        let state = self.shared.state.lock();
        let version = state.services.get(&self.id);
        let replicas = version.into_iter().flat_map(|version| &version.replicas);
        replicas
            .filter_map(|replica| replica.lock().log_source.clone())
            .collect()
    }
}

/// Tells the instances of a version to stop and waits until they are gone.
pub(crate) async fn stop_version(version: &Version) {
    version.retired.cancel();
    version.stop.cancel();
    version.running.wait().await;
}

/// Progress is talk: when nobody reads it, it is dropped.
fn say(progress: &mpsc::Sender<String>, line: impl Into<String>) {
    let _ = progress.try_send(line.into());
}

fn not_found(id: &ServiceId) -> ControlError {
    let message = format!("the node has no service `{id}`");
    ControlError::NotFound(refuse(codes::store::NOT_FOUND, message))
}

fn rollout_failed(id: &ServiceId, failure: StartFailure, serves: bool) -> ControlError {
    let rest = if serves {
        "the old version serves on"
    } else {
        "nothing of it runs"
    };
    let message = format!("the new version of `{id}` did not become healthy; {rest}");
    let mut diagnostic = Diagnostic::error(codes::store::ROLLOUT_FAILED, message);
    diagnostic.causes = failure.causes;
    ControlError::Rollout(Box::new(diagnostic))
}
