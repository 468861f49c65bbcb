//! Crash tests: the process kills itself at a named fault point.
//!
//! `LOCKGATE_TEST_FAULT=<point>[:<n>]` ends the process with SIGKILL at the n-th passing of the
//! point, exactly as a power cut between two instructions would. Without the variable nothing is
//! installed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockgate_state::FaultHook;

/// The hook of a fault variable.
pub(crate) fn hook(fault: Option<&str>) -> Option<FaultHook> {
    let (point, count) = match fault?.rsplit_once(':') {
        Some((point, count)) => (point.to_owned(), count.parse().unwrap_or(1)),
        None => (fault?.to_owned(), 1),
    };
    let passed = AtomicU64::new(0);
    Some(Arc::new(move |at| {
        if at == point && passed.fetch_add(1, Ordering::SeqCst) + 1 == count {
            let own = rustix::process::getpid();
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        }
    }))
}
