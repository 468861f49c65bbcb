//! The thread that keeps a lease alive. A thread of its own, so that a busy or blocked runtime
//! does not lose the lease.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::{Fence, LEASE_TTL};
use crate::error::StateError;

/// Renewals per lifetime of a lease: two may fail before it expires.
const RENEWALS_PER_TTL: u32 = 3;

/// Ends when it is stopped, when it is dropped, or when the lease is lost.
pub(super) struct Renewal {
    /// Never sent on: its drop is the signal.
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Renewal {
    pub(super) fn start(fence: Fence) -> Result<Self, StateError> {
        let (stop, stopped) = sync_channel(1);
        let stack = fence.files.stack.clone();
        let thread = std::thread::Builder::new()
            .name("lease renewal".to_owned())
            .spawn(move || {
                let pause = LEASE_TTL / RENEWALS_PER_TTL;
                while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    // A failing disk is tried again; the next journal write reports it.
                    if matches!(
                        fence.renew(),
                        Err(StateError::LeaseLost(_) | StateError::NoStack(_))
                    ) {
                        return;
                    }
                }
            })
            .map_err(StateError::io(
                "start the lease renewal of",
                stack.to_string(),
            ))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread and waits for it, so that no renewal follows a release.
    pub(super) fn stop(self) {
        drop(self.stop);
        // A panic there was reported by the panic hook and changes nothing here.
        let _ = self.thread.join();
    }
}
