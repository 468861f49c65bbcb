//! One child process: own process group, given environment, streamed and capped output, killed
//! with its whole group on cancel, time-out or drop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Bytes of one stream that the state keeps. A larger output belongs into a file.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Bytes of one line; longer lines are handed on in pieces.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Time between the polite signal and the one that cannot be refused.
const KILL_GRACE: Duration = Duration::from_secs(3);
/// Time a stream may stay open after the script ended: a server it started may hold it.
const STREAM_GRACE: Duration = Duration::from_secs(2);

/// What to run.
pub(super) struct Script {
    /// Program and arguments, the script text last.
    pub(super) argv: Vec<String>,
    pub(super) dir: PathBuf,
    /// The whole environment.
    pub(super) env: BTreeMap<String, String>,
    pub(super) stdin: Option<String>,
    pub(super) timeout: Option<Duration>,
}

/// Which stream a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stream {
    Out,
    Err,
}

/// How it ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: Captured,
    pub(super) stderr: Captured,
}

/// What a stream said.
#[derive(Default)]
pub(super) struct Captured {
    pub(super) text: String,
    /// More was said than is kept.
    pub(super) cut: bool,
}

/// Why there is no end to tell of.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("cannot start `{program}` in `{dir}`")]
    Start {
        program: String,
        dir: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot wait for the script")]
    Wait(#[source] std::io::Error),
    #[error("the script was cancelled")]
    Cancelled,
    #[error("the script took longer than {0:?}")]
    Timeout(Duration),
}

/// Kills the process group unless it ended by itself.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // The only failure is that the group is gone, which is what was wanted.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Runs a script to its end. `line` sees each line as it comes; it must not block.
///
/// Dropping the future kills the process group.
pub(super) async fn run(
    script: Script,
    cancel: &CancellationToken,
    line: &(dyn Fn(Stream, &str) + Send + Sync),
) -> Result<Ended, RunError> {
    let mut child = start(&script)?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut group = Group(pid);
    let stdin = child.stdin.take();
    let feed = async {
        if let (Some(mut pipe), Some(text)) = (stdin, &script.stdin) {
            // A script need not read its input.
            let _ = pipe.write_all(text.as_bytes()).await;
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let mut stdout = Captured::default();
    let mut stderr = Captured::default();
    let status = {
        let streams = async {
            tokio::join!(
                feed,
                relay(out, Stream::Out, &mut stdout, line),
                relay(err, Stream::Err, &mut stderr, line),
            );
        };
        tokio::pin!(streams);
        let ended = async {
            let mut streams_open = true;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut streams, if streams_open => streams_open = false,
                }
            };
            if streams_open {
                let _ = tokio::time::timeout(STREAM_GRACE, &mut streams).await;
            }
            status
        };
        let limit = async {
            match script.timeout {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = ended => Ok(status.map_err(RunError::Wait)?),
            () = cancel.cancelled() => Err(RunError::Cancelled),
            () = limit => Err(RunError::Timeout(script.timeout.unwrap_or_default())),
        }
    };
    match status {
        Ok(status) => {
            group.0 = None;
            Ok(Ended {
                status,
                stdout,
                stderr,
            })
        }
        Err(error) => {
            group.signal(Signal::TERM);
            let _ = tokio::time::timeout(KILL_GRACE, child.wait()).await;
            Err(error)
        }
    }
}

fn start(script: &Script) -> Result<Child, RunError> {
    let (program, args) = script
        .argv
        .split_first()
        .map_or(("", &[][..]), |(p, a)| (p, a));
    let stdin = match script.stdin {
        Some(_) => Stdio::piped(),
        None => Stdio::null(),
    };
    Command::new(program)
        .args(args)
        .current_dir(&script.dir)
        .env_clear()
        .envs(&script.env)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| RunError::Start {
            program: program.to_owned(),
            dir: script.dir.display().to_string(),
            source,
        })
}

async fn relay(
    pipe: Option<impl AsyncRead + Unpin>,
    stream: Stream,
    captured: &mut Captured,
    line: &(dyn Fn(Stream, &str) + Send + Sync),
) {
    let Some(pipe) = pipe else { return };
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
        if captured.text.len() + text.len() <= OUTPUT_BYTES_MAX && !captured.cut {
            captured.text.push_str(&text);
        } else {
            captured.cut = true;
        }
        line(stream, text.trim_end_matches(['\n', '\r']));
    }
}
