//! A temporary home and project folder around the real binary.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// What one run of the binary left behind.
#[derive(Debug)]
pub struct Output {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output: data.
    pub data: String,
    /// Standard error: talk.
    pub talk: String,
    /// Wall time.
    pub time: Duration,
}

impl Output {
    /// Fails unless it exited with `code`, and then shows all it said.
    pub fn expect(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "exit code {:?}, expected {code}\n--- data\n{}\n--- talk\n{}",
            self.code,
            self.data,
            self.talk
        );
        Ok(self)
    }

    /// Its data as one JSON document.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.data).with_context(|| format!("not JSON: {}", self.data))
    }

    /// Its data as JSON lines.
    pub fn json_lines(&self) -> Result<Vec<Value>> {
        let parse = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
        self.data.lines().map(parse).collect()
    }
}

/// A home and a project of their own. Dropping it stops the node and kills what is left.
#[derive(Debug)]
pub struct World {
    exe: PathBuf,
    root: TempDir,
    env: Vec<(String, String)>,
}

impl World {
    /// An empty world around the binary at `exe`.
    pub fn new(exe: &Path) -> Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("lockgate-world-")
            .tempdir()?;
        // The mapped root of a sandbox must be able to walk to its files.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs_err::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755))?;
        }
        fs_err::create_dir_all(root.path().join("project"))?;
        let world = Self {
            exe: exe.to_owned(),
            root,
            env: Vec::new(),
        };
        // A fixed port, so that a node that was killed comes back at the same address.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        world.write_home(
            "lockgate.toml",
            &format!("[data]\naddress = \"127.0.0.1:{port}\"\n"),
        )?;
        Ok(world)
    }

    /// A world whose project is a copy of `folder`.
    pub fn with_project(exe: &Path, folder: &Path) -> Result<Self> {
        let world = Self::new(exe)?;
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs_err::copy(entry.path(), world.project().join(entry.file_name()))?;
            }
        }
        Ok(world)
    }

    /// Adds a variable to every later run.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// The project folder.
    pub fn project(&self) -> PathBuf {
        self.root.path().join("project")
    }

    /// `LOCKGATE_HOME`.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.project().join(name);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        Ok(fs_err::write(path, text)?)
    }

    /// Writes a file of the home folder.
    pub fn write_home(&self, name: &str, text: &str) -> Result<()> {
        fs_err::create_dir_all(self.home())?;
        Ok(fs_err::write(self.home().join(name), text)?)
    }

    /// Adds sections to the node's settings.
    pub fn add_settings(&self, text: &str) -> Result<()> {
        let path = self.home().join("lockgate.toml");
        let before = fs_err::read_to_string(&path)?;
        Ok(fs_err::write(&path, format!("{before}{text}"))?)
    }

    /// The command, ready to be started.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.exe);
        command
            .args(args)
            .current_dir(self.project())
            .env_clear()
            .env("LOCKGATE_HOME", self.home())
            .env("HOME", self.root.path())
            .stdin(Stdio::null());
        for name in ["PATH", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // rustup and cargo find their folders from HOME; keep the real ones reachable.
        if let Some(home) = std::env::var_os("HOME") {
            let home = PathBuf::from(home);
            if std::env::var_os("RUSTUP_HOME").is_none() {
                command.env("RUSTUP_HOME", home.join(".rustup"));
            }
            if std::env::var_os("CARGO_HOME").is_none() {
                command.env("CARGO_HOME", home.join(".cargo"));
            }
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Runs to the end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Output> {
        let start = Instant::now();
        let output = self.command(args).output().context("start the binary")?;
        Ok(Output {
            code: output.status.code(),
            data: String::from_utf8_lossy(&output.stdout).into_owned(),
            talk: String::from_utf8_lossy(&output.stderr).into_owned(),
            time: start.elapsed(),
        })
    }

    /// Processes whose environment or arguments name this world's home: what is left behind.
    pub fn processes(&self) -> Result<BTreeSet<u32>> {
        let marker = self.root.path().to_string_lossy().into_owned();
        let mut found = BTreeSet::new();
        for entry in fs_err::read_dir("/proc")? {
            let entry = entry?;
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            let holds = |file: &str| {
                fs_err::read(entry.path().join(file))
                    .is_ok_and(|bytes| contains(&bytes, marker.as_bytes()))
            };
            if pid != std::process::id() && (holds("environ") || holds("cmdline")) {
                found.insert(pid);
            }
        }
        Ok(found)
    }

    /// Mounts below this world: must be none after a destroy.
    pub fn mounts(&self) -> Result<Vec<String>> {
        let marker = self.root.path().to_string_lossy().into_owned();
        let table = fs_err::read_to_string("/proc/self/mountinfo")?;
        Ok(table
            .lines()
            .filter(|l| l.contains(&marker))
            .map(str::to_owned)
            .collect())
    }

    /// Files below the home that hold `text`: must be none for a secret.
    pub fn files_with(&self, text: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.home(), self.project()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(&folder)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() && contains(&fs_err::read(entry.path())?, text.as_bytes())
                {
                    found.push(entry.path());
                }
            }
        }
        Ok(found)
    }

    /// Stops the node; an error when something of this world is still there afterwards.
    pub fn close(self) -> Result<()> {
        self.run(&["node", "stop"])?;
        let left = self.processes()?;
        if !left.is_empty() {
            bail!("processes left behind: {left:?}");
        }
        let mounts = self.mounts()?;
        ensure!(mounts.is_empty(), "mounts left behind: {mounts:?}");
        Ok(())
    }
}

impl Drop for World {
    /// A failed test must not leave a node or a service behind.
    fn drop(&mut self) {
        if !self.home().join("node").exists() {
            return;
        }
        let _ = self.run(&["node", "stop"]);
        for pid in self.processes().unwrap_or_default() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds, looking again and again; an error names what was waited for.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    while !condition()? {
        ensure!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::park_timeout(POLL);
    }
    Ok(())
}
