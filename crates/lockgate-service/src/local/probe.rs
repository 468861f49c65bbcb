//! Health probes: an HTTP request, a connection, a command inside.

use std::io;
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::time::Duration;

use lockgate_model::service::HealthProbe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Inner, Live, control};
use crate::sandbox::join::JoinSpec;
use crate::sandbox::spec::{ProgramSpec, to_memfd};
use crate::sandbox::{JOIN, channel};

/// The status line is all that is read of an answer.
const STATUS_LINE_BYTES_MAX: usize = 512;

/// Tries once, within `timeout`.
pub(super) async fn probe(
    inner: &Inner,
    live: &Live,
    probe: &HealthProbe,
    timeout: Duration,
) -> Result<(), String> {
    let tried = async {
        match probe {
            HealthProbe::Tcp => connect(live).await.map(drop),
            HealthProbe::Http { path } => get(live, path).await,
            HealthProbe::Command { argv } => command(inner, live, argv, timeout).await,
        }
    };
    match tokio::time::timeout(timeout, tried).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {timeout:?}")),
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
        Some(code) => Err(format!("the health command exited with {code}")),
        None => Err("the health command was ended by a signal".to_owned()),
    }
}

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
        .kill_on_drop(true)
        .spawn()?;
    channel::send(&ours, &(), &[spec.as_fd(), live.pidfd.get_ref().as_fd()])?;
    Ok(child.wait().await?.code())
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
