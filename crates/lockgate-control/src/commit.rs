//! How a change becomes true: in memory, in the gateway's table, on disk — or not at all.

use std::sync::Arc;
use std::time::Duration;

use lockgate_diag::{Diagnostic, codes};
use lockgate_store::{Act, Change};

use crate::state::State;
use crate::{Caller, ControlError, Shared};

/// Time the gateway has to take a spec. Compiling takes milliseconds; only a stuck gateway needs
/// longer, and then nobody should be told that the change serves.
const TABLE_TIMEOUT: Duration = Duration::from_secs(10);

impl Shared {
    /// Publishes the spec that follows from the state, if it differs from the last one, and
    /// returns the version that holds the state.
    pub(crate) fn publish(&self) -> u64 {
        let mut state = self.state.lock();
        let mut spec = state.compile();
        if spec != *state.spec {
            spec.version += 1;
            state.spec = Arc::new(spec);
            self.spec.send_replace(Arc::clone(&state.spec));
        }
        state.spec.version
    }

    /// Makes one change true: checked against the state, served by the gateway, then durable.
    /// The table comes before the disk, so that a spec the gateway refuses can never be what a
    /// restarted node loads. `swap` exchanges the new with the old; called twice it undoes itself.
    pub(crate) async fn commit(
        &self,
        caller: &Caller,
        change: &Change,
        check: impl FnOnce(&State) -> Result<(), Box<Diagnostic>>,
        wrap: fn(Box<Diagnostic>) -> ControlError,
        mut swap: impl FnMut(&mut State),
    ) -> Result<(), ControlError> {
        // One change at a time: a refused spec is then due to this change and to no other.
        let _turn = self.turn.lock().await;
        {
            let mut state = self.state.lock();
            check(&state).map_err(wrap)?;
            swap(&mut state);
        }
        let version = self.publish();
        let mut result = self.await_table(version).await;
        if result.is_ok() {
            let act = Act {
                at: self.clock.now(),
                actor: caller.actor.clone(),
                request: caller.request.clone(),
            };
            let saved = self.store.save_change(change, &act).await;
            result = saved.map_err(ControlError::Store);
        }
        if result.is_err() {
            swap(&mut self.state.lock());
            self.publish();
        }
        result
    }

    /// Waits until a table of `version` or later serves.
    async fn await_table(&self, version: u64) -> Result<(), ControlError> {
        let mut status = self.status.clone();
        let settled = status.wait_for(|status| {
            let refused = status.rejected.as_ref();
            status.version >= version || refused.is_some_and(|refused| refused.version >= version)
        });
        let silent = || {
            let text = "the gateway did not take the change in time; it was undone";
            ControlError::Table(Box::new(
                Diagnostic::error(codes::store::TABLE_SILENT, text)
                    .hint("run `lockgate node logs` to see what the gateway is doing"),
            ))
        };
        let status = match tokio::time::timeout(TABLE_TIMEOUT, settled).await {
            Ok(Ok(status)) => status,
            Ok(Err(_)) | Err(_) => return Err(silent()),
        };
        match &status.rejected {
            Some(refused) if status.version < version => {
                let mut diagnostic = Diagnostic::error(
                    codes::store::TABLE_REFUSED,
                    "the gateway refused the change; it was undone",
                );
                for found in &refused.diagnostics {
                    diagnostic.causes.push(found.message.clone());
                    diagnostic.causes.extend(found.causes.iter().cloned());
                    diagnostic.hints.extend(found.hints.iter().cloned());
                }
                Err(ControlError::Table(Box::new(diagnostic)))
            }
            _ => Ok(()),
        }
    }
}
