//! The process of a program: started in a group of its own, its lines passed on, gone when its
//! owner is.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lockgate_diag::Secret;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Longest line passed on as one; longer ones are cut into pieces.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Lines of standard error that a failure shows again.
const TAIL_LINES_MAX: usize = 10;
/// How long output is awaited after the process itself is gone: a grandchild may hold the pipe.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// How to start a program.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// The whole environment.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) folder: PathBuf,
    /// Config in clear; written to standard input and closed.
    pub(crate) input: Secret<String>,
}

/// A running program. Dropping it kills its process group.
pub(crate) struct Program {
    child: Child,
    group: Option<Pid>,
    pipes: JoinSet<()>,
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl Program {
    /// Starts it. `say` gets each line of its output; it must not block.
    pub(crate) fn start(
        launch: Launch,
        say: Arc<dyn Fn(String) + Send + Sync>,
    ) -> io::Result<Self> {
        let mut child = Command::new(&launch.program)
            .args(&launch.args)
            .current_dir(&launch.folder)
            .env_clear()
            .envs(launch.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let mut pipes = JoinSet::new();
        if let Some(mut pipe) = child.stdin.take() {
            let input = launch.input;
            pipes.spawn(async move {
                // A program that ends before it reads its config says why itself.
                let _ = pipe.write_all(input.expose().as_bytes()).await;
            });
        }
        if let Some(pipe) = child.stdout.take() {
            let say = Arc::clone(&say);
            pipes.spawn(relay(pipe, move |line| say(line)));
        }
        if let Some(pipe) = child.stderr.take() {
            let tail = Arc::clone(&tail);
            pipes.spawn(relay(pipe, move |line| {
                let mut tail = tail.lock();
                if tail.len() == TAIL_LINES_MAX {
                    tail.pop_front();
                }
                tail.push_back(line.clone());
                drop(tail);
                say(line);
            }));
        }
        Ok(Self {
            child,
            group,
            pipes,
            tail,
        })
    }

    /// Waits for its end and the rest of its output. Cancel safe.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        let rest = async { while self.pipes.join_next().await.is_some() {} };
        // Whoever still holds the pipes is killed with the group.
        let _ = tokio::time::timeout(OUTPUT_GRACE, rest).await;
        Ok(status)
    }

    /// Waits at most `limit` for its end, then kills it; `None` when that was needed.
    pub(crate) async fn end_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let ended = tokio::time::timeout(limit, self.wait()).await;
        if ended.is_err() {
            self.kill();
            // Nothing outlives this signal; what is waited for is the reaping.
            let _ = self.child.wait().await;
        }
        ended.ok()?.ok()
    }

    /// The last lines of standard error.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.tail.lock().iter().cloned().collect()
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // The only failure is that the group is gone, which is what was wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn relay(pipe: impl AsyncRead + Unpin, mut line: impl FnMut(String)) {
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let mut limited = (&mut reader).take(LINE_BYTES_MAX);
        match limited.read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        line(text.trim_end_matches(['\n', '\r']).to_owned());
    }
}
