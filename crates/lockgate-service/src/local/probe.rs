//! Health probes: an HTTP request, a connection, a command inside.

use std::io;
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::time::Duration;

use lockgate_model::service::HealthProbe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Inner, Live, control};
use crate::sandbox::JOIN;
use crate::sandbox::channel::{self, Report};
use crate::sandbox::join::{JoinSpec, TIMED_OUT};
use crate::sandbox::spec::{ProgramSpec, to_memfd};

/// The status line is all that is read of an answer.
const STATUS_LINE_BYTES_MAX: usize = 512;

/// Tries once, within `timeout`.
pub(super) async fn probe(
    inner: &Inner,
    live: &Live,
    probe: &HealthProbe,
    timeout: Duration,
) -> Result<(), String> {
    let no_answer = |_| format!("no answer within {timeout:?}");
    match probe {
        HealthProbe::Tcp => tokio::time::timeout(timeout, connect(live))
            .await
            .map_err(no_answer)?
            .map(drop),
        HealthProbe::Http { path } => tokio::time::timeout(timeout, get(live, path))
            .await
            .map_err(no_answer)?,
        // Ends in time by itself.
        HealthProbe::Command { argv } => command(inner, live, argv, timeout).await,
    }
}

async fn connect(live: &Live) -> Result<TcpStream, String> {
    let port = live.stored.port;
    let stream = control::connect(live, port)
        .await
        .and_then(TcpStream::from_std);
    stream.map_err(|error| format!("connect to port {port}: {error}"))
}

async fn get(live: &Live, path: &str) -> Result<(), String> {
    let proper = |b: u8| b.is_ascii_graphic();
    if !path.starts_with('/') || !path.bytes().all(proper) {
        return Err(format!("`{path}` is not a path"));
    }
    let mut stream = connect(live).await?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: lockgate-health\r\nconnection: close\r\n\r\n"
    );
    let exchange = async {
        stream.write_all(head.as_bytes()).await?;
        let mut line = Vec::new();
        while !line.contains(&b'\n') && line.len() < STATUS_LINE_BYTES_MAX {
            if stream.read_buf(&mut line).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(line)
    };
    let line = exchange
        .await
        .map_err(|error| format!("GET {path}: {error}"))?;
    match status_of(&line) {
        Some(status) if status < 400 => Ok(()),
        Some(status) => Err(format!("GET {path} answered {status}")),
        None => Err(format!("GET {path} did not answer in HTTP")),
    }
}

/// The status of a status line (RFC 9112 section 4).
fn status_of(line: &[u8]) -> Option<u16> {
    let digits = line.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (100..600).contains(&status).then_some(status)
}

async fn command(
    inner: &Inner,
    live: &Live,
    argv: &[String],
    timeout: Duration,
) -> Result<(), String> {
    let code = join(inner, live, argv, timeout).await;
    match code.map_err(|error| format!("run the health command: {error}"))? {
        Some(0) => Ok(()),
        Some(TIMED_OUT) => Err(format!("the health command did not end within {timeout:?}")),
        Some(code) => Err(format!("the health command exited with {code}")),
        None => Err("the health command was ended by a signal".to_owned()),
    }
}

/// Runs `sandbox-join`, which ends in time by itself. It is never killed from here: what it left
/// inside would become a child of this node that nobody collects, and pid 1 could not end.
async fn join(
    inner: &Inner,
    live: &Live,
    argv: &[String],
    timeout: Duration,
) -> io::Result<Option<i32>> {
    let stored = &live.stored;
    let spec = to_memfd(&JoinSpec {
        program: ProgramSpec {
            argv: argv.to_vec(),
            env: stored.env.clone(),
            uid: stored.uid,
            gid: stored.gid,
            cwd: stored.cwd.clone(),
        },
        ids: stored.ids,
        rlimits: stored.rlimits.clone(),
        cgroups: stored
            .cgroups
            .iter()
            .map(|folder| format!("{folder}/cgroup.procs"))
            .collect(),
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    })?;
    let (ours, theirs) = channel::pair()?;
    let mut child = tokio::process::Command::new(&inner.settings.exe)
        .arg(JOIN)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    channel::send(&ours, &(), &[spec.as_fd(), live.pidfd.get_ref().as_fd()])?;
    let status = child.wait().await?;
    // Its end of the socket is closed by now, so this does not wait.
    match channel::receive::<Report>(&ours) {
        Ok((Report::StepFailed { step, text, .. }, _)) => {
            Err(io::Error::other(format!("{step}: {text}")))
        }
        _ => Ok(status.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_status_lines_count() {
        assert_eq!(status_of(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status_of(b"HTTP/1.0 500\r\n"), Some(500));
        for line in [&b"SSH-2.0"[..], b"HTTP/1.1 2", b"HTTP/1.1 999 x", b""] {
            assert_eq!(status_of(line), None);
        }
    }
}
