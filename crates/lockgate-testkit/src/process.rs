//! Servers that tests run for real: found or loudly missing, up when they answer, gone when
//! dropped.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::world::wait_until;

/// No server takes longer to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(30);
/// After this, a server that was asked to end is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts `program`, whose output goes to `log`, and waits until `ready` says so.
    /// `package` is the Debian package to install when it is missing.
    pub(crate) fn start(
        program: &str,
        package: &str,
        args: &[&str],
        log: &Path,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<Self> {
        let out = fs_err::File::create(log)?.into_parts().0;
        // Debian keeps servers in sbin, which is not on every user's path.
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new(program)
            .args(args)
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| {
                format!("`{program}` cannot be started: sudo apt-get install -y {package}")
            })?;
        let mut server = Self { child };
        wait_until(program, START_LIMIT, || {
            if let Some(status) = server.child.try_wait()? {
                let said = fs_err::read_to_string(log).unwrap_or_default();
                bail!("`{program}` ended with {status}:\n{said}");
            }
            ready()
        })?;
        Ok(server)
    }
}

impl Drop for Server {
    /// TERM first: a server that is killed leaves its own children and mounts behind.
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        let ended = wait_until("the end of a server", STOP_LIMIT, || {
            Ok(self.child.try_wait()?.is_some())
        });
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
