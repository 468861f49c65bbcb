//! A home for one test, the compiled probe, and counts of what is left behind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lockgate_service::{
    InstanceSpec, LocalPlatform, LocalSettings, LogCursor, LogFrom, Platform as _,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support;

/// A node's home with its platform.
pub(crate) struct Lab {
    home: TempDir,
    pub(crate) platform: Arc<LocalPlatform>,
}

/// The example binary beside this test's own.
pub(crate) fn exe() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let target = own.parent().and_then(Path::parent).unwrap();
    target.join("examples/sandbox-fixture")
}

/// The folder with the probe, compiled once per run.
pub(crate) fn images() -> &'static Path {
    static IMAGES: OnceLock<TempDir> = OnceLock::new();
    IMAGES
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let source = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/examples/sandbox-fixture/probe.c"
            );
            let done = Command::new("cc")
                .args(["-static", "-O1", "-o"])
                .arg(folder.path().join("probe"))
                .arg(source)
                .status()
                .expect("a C compiler, which the Rust linker needs too");
            assert!(done.success(), "cc failed");
            folder
        })
        .path()
}

/// Instances outlive their node, so a test that failed half way must end its own.
impl Drop for Lab {
    fn drop(&mut self) {
        let Ok(instances) = fs_err::read_dir(self.home().join("instances")) else {
            return;
        };
        for instance in instances.flatten() {
            let pid = fs_err::read_to_string(instance.path().join("out/pid")).unwrap_or_default();
            let pid = pid
                .split(' ')
                .next()
                .and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            if let Some(pid) = pid.filter(|_| std::thread::panicking()) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut LocalSettings)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut settings = support::settings(home.path(), &exe());
        change(&mut settings);
        let platform = Arc::new(support::platform_with(settings, images()));
        Self { home, platform }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A node that has just been started on the same home.
    pub(crate) fn next_node(&self) -> LocalPlatform {
        support::platform(self.home(), images(), &exe())
    }

    /// Runs a report to its end and gives its lines.
    pub(crate) async fn report(&self, spec: InstanceSpec) -> Vec<String> {
        let id = spec.id.clone();
        self.platform.start(spec).await.unwrap();
        self.platform.exit(&id).await;
        let chunk = self.platform.logs(&id, LogFrom::Last(1000)).await.unwrap();
        let lines = chunk.lines.into_iter().map(|line| line.text).collect();
        self.platform.stop(&id, Duration::ZERO).await.unwrap();
        lines
    }

    /// Waits until the instance has printed `text`.
    pub(crate) async fn printed(&self, id: &str, text: &str) {
        let mut cursor = LogCursor::default();
        let found = async {
            loop {
                let chunk = self
                    .platform
                    .logs(id, LogFrom::After(cursor))
                    .await
                    .unwrap();
                cursor = chunk.next;
                if chunk.lines.iter().any(|line| line.text == text) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), found)
            .await
            .expect(text);
    }

    /// Processes, by `ps` name, and mounts that belong to this home.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for entry in fs_err::read_dir("/proc").unwrap() {
            let path = entry.unwrap().path();
            let Ok(root) = fs_err::read_link(path.join("cwd")) else {
                continue;
            };
            let mine = root.starts_with(self.home());
            let mounts = fs_err::read_to_string(path.join("mountinfo")).unwrap_or_default();
            let home = self.home().to_str().unwrap();
            if mine || (mounts.contains(home) && path.join("cmdline").exists()) {
                let name = fs_err::read_to_string(path.join("cmdline")).unwrap_or_default();
                left.push(format!("{} {}", path.display(), name.replace('\0', " ")));
            }
        }
        left
    }
}

/// The words after `prefix` of each line that begins with it.
pub(crate) fn after<'a>(lines: &'a [String], prefix: &'a str) -> impl Iterator<Item = &'a str> {
    lines
        .iter()
        .filter_map(move |line| line.strip_prefix(prefix))
}

pub(crate) fn args(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
