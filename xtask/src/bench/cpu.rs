//! Who used how much CPU, from the kernel's own accounting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// The kernel counts some files in hundredths of a second.
const TICK_US: f64 = 10_000.0;
/// How long a run waits for a calm machine.
const CALM_WAIT: Duration = Duration::from_secs(60);
/// A machine is calm when less than this share of one CPU is used.
const CALM_SHARE: f64 = 0.10;

/// Time on CPU of all threads of a process, in microseconds.
pub(super) fn threads_us(pid: u32) -> Result<f64> {
    Ok(by_thread_us(pid)?.values().sum())
}

/// Time on CPU in microseconds, by the name of the threads.
pub(super) fn by_thread_us(pid: u32) -> Result<BTreeMap<String, f64>> {
    let mut sums = BTreeMap::new();
    for thread in fs_err::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        // A thread may end between two looks; then its time is in nobody's list.
        let Ok(text) = fs_err::read_to_string(thread.join("schedstat")) else {
            continue;
        };
        let name = fs_err::read_to_string(thread.join("comm")).unwrap_or_default();
        let nanos: f64 = text.split_whitespace().next().unwrap_or("0").parse()?;
        *sums.entry(name.trim().to_owned()).or_default() += nanos / 1000.0;
    }
    Ok(sums)
}

/// Time on CPU in microseconds of a process and of all that it started and that still run.
pub(super) fn tree_us(root: u32) -> Result<f64> {
    let mut parents = Vec::new();
    for entry in fs_err::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        // It may have ended meanwhile.
        let stat = fs_err::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let parent = fields.split_whitespace().nth(1);
        if let Some(parent) = parent.and_then(|p| p.parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&pid) = tree.get(at) {
        tree.extend(parents.iter().filter(|(_, p)| *p == pid).map(|(c, _)| *c));
        at += 1;
    }
    tree.into_iter().map(threads_us).sum()
}

/// Runs `work` on a thread that stays on one CPU, as does what it starts.
pub(super) fn on_cpu<T: Send>(cpu: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            stay_on(cpu)?;
            work()
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the bench panicked")))
    })
}

/// Keeps the current thread on one CPU.
pub(super) fn stay_on(cpu: usize) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).with_context(|| format!("stay on CPU {cpu}"))
}

/// Runnable processes of the last minute, on average.
pub(super) fn load_average() -> Result<f64> {
    let text = fs_err::read_to_string("/proc/loadavg")?;
    let first = text.split_whitespace().next().unwrap_or_default();
    first.parse().context("/proc/loadavg")
}

/// The whole machine at one moment, as far as the kernel counts it.
pub(super) struct Machine {
    at: Instant,
    /// Work of anybody.
    busy_us: f64,
    /// Taken by other machines on the same host.
    steal_us: f64,
    /// Finished children of ours: the load generators.
    load_us: f64,
}

/// Shares of one CPU between two moments.
#[derive(Clone, Copy)]
pub(super) struct Shares {
    /// Everybody but load generators and the processes that were named.
    pub(super) others: f64,
    pub(super) steal: f64,
}

impl Machine {
    pub(super) fn now() -> Result<Self> {
        let stat = fs_err::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("an empty /proc/stat")?;
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .map(|n| n.parse().unwrap_or(0.0))
            .collect();
        let tick = |at: usize| ticks.get(at).copied().unwrap_or(0.0);
        let own = fs_err::read_to_string("/proc/self/stat")?;
        let fields = own.rsplit(')').next().unwrap_or_default();
        let children: f64 = fields
            .split_whitespace()
            .skip(13)
            .take(2)
            .map(|n| n.parse().unwrap_or(0.0))
            .sum();
        Ok(Self {
            at: Instant::now(),
            // user, nice, system, irq, softirq; idle and iowait are not work.
            busy_us: [0, 1, 2, 5, 6].into_iter().map(tick).sum::<f64>() * TICK_US,
            steal_us: tick(7) * TICK_US,
            load_us: children * TICK_US,
        })
    }

    /// What happened since, of which `ours_us` was spent by the processes of the bench.
    pub(super) fn since(&self, before: &Self, ours_us: f64) -> Shares {
        let wall = (self.at - before.at).as_secs_f64() * 1e6;
        let busy = self.busy_us - before.busy_us;
        let load = self.load_us - before.load_us;
        Shares {
            others: (busy - load - ours_us).max(0.0) / wall,
            steal: (self.steal_us - before.steal_us) / wall,
        }
    }
}

/// Waits until the machine is nearly idle, for a bounded time.
pub(super) fn wait_for_calm() -> Result<()> {
    let deadline = Instant::now() + CALM_WAIT;
    loop {
        let before = Machine::now()?;
        std::thread::sleep(Duration::from_millis(500));
        let share = Machine::now()?.since(&before, 0.0).others;
        if share < CALM_SHARE || Instant::now() > deadline {
            return Ok(());
        }
    }
}
