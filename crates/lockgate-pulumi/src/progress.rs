//! What the server, the services and the source know about a run together.

use tokio::sync::watch;

/// How far the program is.
#[derive(Debug, Default)]
struct State {
    /// Requests that were received and not yet answered in full.
    in_flight: usize,
    /// The program said that it has registered everything.
    signalled: bool,
    /// The engine goes no further; the program is to end.
    stopped: bool,
    /// The user was told of a failure.
    told: bool,
    /// Why the run cannot be trusted to be complete.
    lost: Option<String>,
    /// What the program wants that this version does not have.
    unsupported: Option<String>,
}

/// The progress of one run.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: watch::Sender<State>,
}

impl Progress {
    /// A request came in. It counts until [`Progress::end`].
    pub(crate) fn begin(&self) {
        self.state.send_if_modified(|state| {
            state.in_flight += 1;
            false
        });
    }

    /// A request was answered in full, or went away.
    pub(crate) fn end(&self) {
        self.state.send_if_modified(|state| {
            state.in_flight -= 1;
            state.in_flight == 0
        });
    }

    /// Notes that the program has registered everything; false when it said so before.
    pub(crate) fn signal(&self) -> bool {
        let first = !self.is_signalled();
        self.state.send_modify(|state| state.signalled = true);
        first
    }

    /// Notes that the engine goes no further.
    pub(crate) fn stop(&self) {
        self.state.send_modify(|state| state.stopped = true);
    }

    /// Notes that the user was told of a failure.
    pub(crate) fn tell(&self) {
        self.state.send_modify(|state| state.told = true);
    }

    /// Notes that something of the program was lost: nothing may be deleted by this run. The
    /// first reason stays.
    pub(crate) fn lose(&self, reason: impl FnOnce() -> String) {
        self.state.send_modify(|state| {
            state.lost.get_or_insert_with(reason);
        });
    }

    /// Notes that the program wants what this version does not have; the first one stays.
    pub(crate) fn refuse(&self, what: impl Into<String>) {
        self.state.send_if_modified(|state| {
            state.unsupported.get_or_insert_with(|| what.into());
            false
        });
    }

    /// Whether the program said that it has registered everything.
    pub(crate) fn is_signalled(&self) -> bool {
        self.state.borrow().signalled
    }

    /// Whether the engine goes no further.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.borrow().stopped
    }

    /// Whether the user was told of a failure.
    pub(crate) fn is_told(&self) -> bool {
        self.state.borrow().told
    }

    /// Why the run cannot be trusted to be complete.
    pub(crate) fn lost(&self) -> Option<String> {
        self.state.borrow().lost.clone()
    }

    /// What the program wants that this version does not have.
    pub(crate) fn unsupported(&self) -> Option<String> {
        self.state.borrow().unsupported.clone()
    }

    /// Waits until the program has registered everything and each request is answered, or until
    /// the engine goes no further.
    pub(crate) async fn settled(&self) {
        self.wait(|state| state.stopped || (state.signalled && state.in_flight == 0))
            .await;
    }

    /// Waits until each request is answered.
    pub(crate) async fn idle(&self) {
        self.wait(|state| state.in_flight == 0).await;
    }

    async fn wait(&self, done: impl FnMut(&State) -> bool) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.state.subscribe().wait_for(done).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[tokio::test]
    async fn a_signal_settles_only_after_the_last_answer() {
        let progress = Progress::default();
        progress.begin();
        assert!(progress.signal());
        assert!(!progress.signal(), "the second signal is not the first");
        let settled = progress.settled();
        tokio::pin!(settled);
        tokio::select! {
            biased;
            () = &mut settled => panic!("a request was still open"),
            () = std::future::ready(()) => {}
        }
        progress.end();
        settled.await;
    }

    #[test]
    fn the_first_loss_stays() {
        let progress = Progress::default();
        progress.lose(|| "first".to_owned());
        progress.lose(|| "second".to_owned());
        assert_eq!(progress.lost().as_deref(), Some("first"));
    }
}
