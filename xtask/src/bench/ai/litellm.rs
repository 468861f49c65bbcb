//! LiteLLM's proxy as a peer: installed once into the target folder in pinned versions, one
//! worker, a master key, prices, no database, no debug.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lockgate_testkit::{http, vendor};

use super::completions::{PATH, body};
use crate::bench::servers::{Running, free_addresses};

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// What its clients call it with.
const KEY: &str = "sk-bench-0f9a31c7";
/// It reads some hundred megabytes of Python before it listens.
const START_LIMIT: Duration = Duration::from_secs(180);

/// A running one.
pub(super) struct LiteLlm {
    child: Running,
    pub(super) address: SocketAddr,
}

impl LiteLlm {
    pub(super) const KEY: &str = KEY;
    pub(super) const NAME: &str = "LiteLLM's proxy";

    /// Starts it on CPU 0, with one model that is `fast` to its clients.
    pub(super) fn start(venv: &Path, vendor_url: &str, folder: &Path) -> Result<Self> {
        let [address] = free_addresses()?;
        let config = folder.join("litellm.yaml");
        let mut text = String::from("model_list:\n");
        let _ = write!(
            text,
            "  - model_name: fast\n    litellm_params:\n      model: openai/test-small\n      \
             api_base: {vendor_url}\n      api_key: {}\n      input_cost_per_token: 0.00000015\n      \
             output_cost_per_token: 0.0000006\n\
             general_settings:\n  master_key: {KEY}\nlitellm_settings:\n  telemetry: false\n",
            vendor::KEY
        );
        fs_err::write(&config, text)?;
        let log = folder.join("litellm.log");
        let out = fs_err::File::create(&log)?.into_parts().0;
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(venv.join("bin/litellm"))
            .arg("--config")
            .arg(&config)
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--num_workers", "1", "--telemetry", "False"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", folder)
            .env("LITELLM_MODE", "PRODUCTION")
            .env("LITELLM_LOG", "ERROR")
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("start LiteLLM's proxy")?;
        let mut this = Self {
            child: Running(child),
            address,
        };
        this.wait(&log)?;
        Ok(this)
    }

    /// Waits until it listens.
    fn wait(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let url = format!("http://{}/health/liveliness", self.address);
            if http::get(&url, &[]).is_ok_and(|a| a.status == 200) {
                return Ok(());
            }
            let ended = self.child.0.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let said = fs_err::read_to_string(log).unwrap_or_default();
                bail!("LiteLLM's proxy did not start ({ended:?}):\n{said}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Asks once, so that a wrong configuration does not look like speed.
    pub(super) fn check(&self) -> Result<()> {
        let url = format!("http://{}{PATH}", self.address);
        let bearer = format!("Bearer {KEY}");
        let answer = http::post(&url, &[("authorization", &bearer)], &body())?;
        ensure!(answer.status == 200, "LiteLLM's proxy answered {answer:?}");
        Ok(())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }
}

/// The virtual environment with the pinned packages, made when it is not there yet, and the version
/// of LiteLLM in it.
pub(super) fn install(exe: &Path) -> Result<(PathBuf, String)> {
    let pinned = REQUIREMENTS
        .lines()
        .find_map(|l| l.strip_prefix("litellm=="))
        .context("no version of LiteLLM is pinned")?;
    // The binary lies in `target/<profile>/`.
    let target = exe.ancestors().nth(2).context("the target folder")?;
    let venv = target.join("bench/litellm");
    let stamp = venv.join("installed");
    if fs_err::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok((venv, pinned.to_owned()));
    }
    eprintln!("installing LiteLLM {pinned} into {}", venv.display());
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv))?;
    let list = venv.join("requirements.txt");
    fs_err::write(&list, REQUIREMENTS)?;
    run(Command::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--requirement"])
        .arg(&list))?;
    fs_err::write(&stamp, REQUIREMENTS)?;
    Ok((venv, pinned.to_owned()))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
