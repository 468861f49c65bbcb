//! What a run costs, from the kernel's own accounting.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::World;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// What one command cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    /// From start to end, seconds.
    pub(super) wall: f64,
    /// CPU of the command itself, seconds.
    pub(super) own: f64,
    /// CPU of every process that it started and waited for, seconds.
    pub(super) children: f64,
    /// Most resident memory of the command itself, MiB.
    pub(super) own_peak: f64,
    /// Most resident memory of any one process that it started, MiB.
    pub(super) child_peak: f64,
}

/// Pause between two looks at the memory. Peaks are kept by the kernel, so that one look at a
/// process shortly before its end is enough.
const LOOK: Duration = Duration::from_millis(10);

/// Runs a command of a world to its end, which must be a good one.
pub(super) fn run(world: &World, args: &[&str]) -> Result<Usage> {
    let mut command = world.command(args);
    let talk = tempfile::NamedTempFile::new()?;
    command
        .stdout(Stdio::null())
        .stderr(Stdio::from(talk.reopen()?));
    watch(&mut command).with_context(|| fs_err::read_to_string(talk.path()).unwrap_or_default())
}

fn watch(command: &mut Command) -> Result<Usage> {
    let start = Instant::now();
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed()).context("a pid")?;
    let proc = Path::new("/proc").join(child.id().to_string());
    let mut usage = Usage::default();
    // Not reaped yet when this ends, so that the kernel's account of it can still be read.
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(pid), ended)?.is_none() {
        usage.own_peak = usage.own_peak.max(peak(&proc));
        for child in children(&proc) {
            let proc = Path::new("/proc").join(child);
            usage.child_peak = usage.child_peak.max(peak(&proc));
        }
        std::thread::park_timeout(LOOK);
    }
    usage.wall = start.elapsed().as_secs_f64();
    (usage.own, usage.children) = cpu(&proc)?;
    let status = child.wait()?;
    ensure!(status.success(), "{status}");
    Ok(usage)
}

/// CPU of the children that this process has waited for so far, seconds.
pub(super) fn of_children() -> Result<f64> {
    Ok(cpu(Path::new("/proc/self"))?.1)
}

/// CPU of a process and of its reaped children, seconds. proc_pid_stat(5).
fn cpu(proc: &Path) -> Result<(f64, f64)> {
    let stat = fs_err::read_to_string(proc.join("stat"))?;
    // The name in parentheses may hold spaces; field 3 follows it.
    let (_, rest) = stat.rsplit_once(')').context("a name in parentheses")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |field: usize| -> Result<f64> {
        let text = fields.get(field - 3).context("a short stat line")?;
        Ok(text.parse::<u32>()?.into())
    };
    let hertz = f64::from(u32::try_from(rustix::param::clock_ticks_per_second())?);
    Ok((
        (ticks(14)? + ticks(15)?) / hertz,
        (ticks(16)? + ticks(17)?) / hertz,
    ))
}

/// Peak resident memory, MiB; 0 for a process that is gone.
fn peak(proc: &Path) -> f64 {
    let status = fs_err::read_to_string(proc.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// Pids of the direct children of a process.
fn children(proc: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for task in fs_err::read_dir(proc.join("task")).into_iter().flatten() {
        let Ok(task) = task else { continue };
        let text = fs_err::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().map(str::to_owned));
    }
    found
}
