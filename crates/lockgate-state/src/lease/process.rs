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
            start: read_stat(pid).map(|(_, start)| start),
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
            && holder.start.is_some_and(|start| is_gone(holder.pid, start))
    }
}

/// Whether the process that started then is certainly over: no such process, another one under
/// its id, or a zombie.
fn is_gone(pid: u32, start: u64) -> bool {
    match read_stat(pid) {
        Some((status, now)) => matches!(status, 'Z' | 'X') || now != start,
        // `/proc` may hide the processes of other users; a signal tells hidden and gone apart.
        None => i32::try_from(pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .is_some_and(|pid| {
                rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
            }),
    }
}

/// Status letter and start time, in clock ticks since boot; `None` when the process is gone or
/// hidden, or the system has no `/proc`.
fn read_stat(pid: u32) -> Option<(char, u64)> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command name and may hold anything, so count from its end.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let status = fields.next()?.chars().next()?;
    // Status is field 3 of proc(5), the start time field 22.
    Some((status, fields.nth(18)?.parse().ok()?))
}

/// Process ids mean something within one boot and one pid namespace only.
fn find_machine() -> Option<String> {
    let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs_err::read_link(Path::new("/proc/self/ns/pid")).ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_id_and_another_machine_are_told_apart() {
        let this = Process::current();
        let holder = this.holder("test", Timestamp::default());
        assert!(!this.knows_dead(&holder), "it runs this test");
        let reused = Holder {
            start: holder.start.map(|start| start + 1),
            ..holder.clone()
        };
        assert!(this.knows_dead(&reused));
        let elsewhere = Holder {
            machine: Some("another boot".to_owned()),
            ..reused.clone()
        };
        assert!(!this.knows_dead(&elsewhere), "only its expiry frees it");
        let unknown = Holder {
            start: None,
            ..reused
        };
        assert!(!this.knows_dead(&unknown));
        assert!(is_gone(u32::MAX / 2, 0), "no system has so many processes");
    }
}
