//! Servers of a bench: started on one CPU, up when they listen, gone when dropped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// No server takes longer to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A child that ends with its owner.
pub(super) struct Running(pub(super) Child);

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; both are fine at the end of a bench.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts nginx with a file of `folder` on a CPU.
pub(super) fn nginx(folder: &Path, config: &str, cpu: &str) -> Result<Running> {
    let child = Command::new("taskset")
        .args(["-c", cpu, "nginx", "-p"])
        .arg(folder)
        .arg("-c")
        .arg(folder.join(config))
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start nginx with {config}"))?;
    Ok(Running(child))
}

/// The first lines of a configuration of nginx: one process, in the foreground.
pub(super) fn nginx_head(name: &str) -> String {
    format!(
        "worker_processes 1; daemon off; master_process off; pid {name}.pid; error_log stderr;\n\
         events {{ worker_connections 16384; multi_accept on; }}\n"
    )
}

/// Addresses that are free now.
pub(super) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    // All are held until the last is known, so that they differ.
    let mut held = Vec::with_capacity(N);
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}

/// Waits until something listens.
pub(super) fn wait_for(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < deadline, "nothing listens on {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether a bench of proxies can run here. Without its tools it is skipped, which is said; without
/// two CPUs its figures would mean nothing.
pub(super) fn has_tools_and_cpus() -> Result<bool> {
    if let Some(tool) = missing(&["nginx", "wrk", "taskset"]) {
        println!("SKIPPED: `{tool}` is missing (Debian: apt install nginx-light wrk util-linux)");
        return Ok(false);
    }
    ensure!(
        std::thread::available_parallelism()?.get() >= 2,
        "the bench needs two CPUs: one for the proxy, one for load and upstream"
    );
    Ok(true)
}

/// The first of `tools` that is not there.
fn missing<'t>(tools: &[&'t str]) -> Option<&'t str> {
    let there = |tool: &str| {
        Command::new("which")
            .arg(tool)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    tools.iter().copied().find(|tool| !there(tool))
}

/// What nginx says of itself.
pub(super) fn nginx_version() -> Result<String> {
    let output = Command::new("nginx").arg("-v").output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(text
        .trim()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned())
}
