//! The binary that tests run sandboxes from, and that stands in for a node to be killed.
//!
//! `doctor <home>` prints the doctor's findings.
//! `life <home> <images> <id> <command…>` runs one instance to its end and prints its output.
//! `node <home> <images> <id> <command…>` starts one instance, prints its pid, and waits.

#[path = "support.rs"]
mod support;

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use lockgate_model::service::HealthProbe;
use lockgate_service::{ExitCause, InstanceSpec, LocalPlatform, LogFrom, Platform as _};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = lockgate_service::sandbox_main(&args) {
        return code;
    }
    let args: Vec<String> = std::env::args().collect();
    if let [_, kind, home] = args.as_slice()
        && kind == "doctor"
    {
        let report = lockgate_service::doctor(Path::new(home), Path::new("/proc/self/exe"));
        for check in report.checks {
            let _ = writeln!(
                std::io::stdout(),
                "{} {} {}",
                check.verdict,
                check.cause,
                check.remedy
            );
        }
        return ExitCode::SUCCESS;
    }
    let [_, kind, home, images, id, command @ ..] = args.as_slice() else {
        return ExitCode::from(2);
    };
    match run(
        kind,
        Path::new(home),
        Path::new(images),
        support::spec(id, command),
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(kind: &str, home: &Path, images: &Path, spec: InstanceSpec) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let platform = support::platform(home, images, Path::new("/proc/self/exe"));
        let mut out = std::io::stdout();
        if kind == "life" {
            for line in life(&platform, spec).await? {
                writeln!(out, "{line}")?;
            }
        } else {
            writeln!(out, "{}", platform.start(spec).await?.pid)?;
            // Until the test kills us, or dies itself.
            let _ = std::io::stdin().read(&mut [0])?;
        }
        Ok(())
    })
}

/// Starts a report, reads it, stops it: what an ordinary user must be able to do.
async fn life(platform: &LocalPlatform, spec: InstanceSpec) -> Result<Vec<String>, String> {
    let id = spec.id.clone();
    let text = |error: &dyn std::fmt::Debug| format!("{error:?}");
    platform.start(spec).await.map_err(|error| text(&error))?;
    let exit = platform.exit(&id).await;
    if exit.cause != ExitCause::Code(0) {
        return Err(text(&exit));
    }
    serve(platform).await?;
    let log = platform
        .logs(&id, LogFrom::Last(1000))
        .await
        .map_err(|error| text(&error))?;
    platform
        .stop(&id, Duration::ZERO)
        .await
        .map_err(|error| text(&error))?;
    Ok(log.lines.into_iter().map(|line| line.text).collect())
}

/// Reaches a service in a network of its own, by all three probes.
async fn serve(platform: &LocalPlatform) -> Result<(), String> {
    let mut spec = support::spec("server", &[]);
    spec.service.fixed_port = Some(80);
    let text = |error: &dyn std::fmt::Debug| format!("{error:?}");
    platform.start(spec).await.map_err(|error| text(&error))?;
    let timeout = Duration::from_secs(10);
    while platform
        .probe("server", &HealthProbe::Tcp, timeout)
        .await
        .is_err()
    {
        tokio::task::yield_now().await;
    }
    let http = HealthProbe::Http {
        path: "/".to_owned(),
    };
    platform.probe("server", &http, timeout).await?;
    let argv = ["/probe", "exit", "0"].map(str::to_owned).to_vec();
    platform
        .probe("server", &HealthProbe::Command { argv }, timeout)
        .await?;
    platform
        .stop("server", timeout)
        .await
        .map_err(|error| text(&error))
}
