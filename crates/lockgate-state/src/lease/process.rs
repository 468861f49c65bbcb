//! Which process this is, and whether another one of this machine still runs.

use std::path::Path;

use lockgate_model::Timestamp;

use super::Holder;

/// The identity of this process, read once.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
    start: Option<u64>,
    machine: Option<String>,
    host: String,
}

impl Process {
    /// Reads the identity of this process. What the system does not tell stays empty, and then
    /// only the expiry of a lease frees it.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            start: find_start(pid),
            machine: find_machine(),
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
        }
    }

    pub(super) fn holder(&self, purpose: &str, since: Timestamp) -> Holder {
        Holder {
            purpose: purpose.to_owned(),
            pid: self.pid,
            start: self.start,
            machine: self.machine.clone(),
            host: self.host.clone(),
            since: since.0,
        }
    }

    /// Whether the holder ran on this machine and is certainly gone.
    pub(super) fn knows_dead(&self, holder: &Holder) -> bool {
        self.machine.is_some()
            && self.machine == holder.machine
            && holder.start.is_some()
            && find_start(holder.pid) != holder.start
    }
}

/// When a process started, in clock ticks since boot; `None` when it is gone, is a zombie, or
/// the system has no `/proc`.
fn find_start(pid: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command name and may hold anything, so count from its end.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let status = fields.next()?;
    if matches!(status, "Z" | "X") {
        return None;
    }
    // Status is field 3 of proc(5), the start time field 22.
    fields.nth(18)?.parse().ok()
}

/// Process ids mean something within one boot and one pid namespace only.
fn find_machine() -> Option<String> {
    let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs_err::read_link(Path::new("/proc/self/ns/pid")).ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}
