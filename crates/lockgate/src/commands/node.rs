//! `lockgate node …`.

use std::time::Duration;

use lockgate_api::Shutdown;
use lockgate_api::wire::LedgerView;
use serde_json::json;

use crate::cli::Node;
use crate::failure::CommandError;
use crate::node::connect::{self, client_error};
use crate::node::paths::NodePaths;
use crate::tail;
use crate::workspace::App;

/// Time open requests have when the node is stopped by hand.
const DRAIN: Duration = Duration::from_secs(5);
/// Time a node has to be gone after it was asked.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Time between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Runs a node command.
pub(crate) async fn run(app: &App, command: &Node) -> Result<(), CommandError> {
    match command {
        Node::Start => {
            if connect::find(&app.environment).await.is_some() {
                app.printer.say("the node runs already");
                return Ok(());
            }
            connect::find_or_start(&app.environment, &|line| app.printer.say(line))
                .await
                .map_err(|diagnostic| CommandError::Failed(vec![diagnostic]))?;
            Ok(())
        }
        Node::Status => status(app).await,
        Node::Stop { keep_services } => stop(app, *keep_services).await,
        Node::Logs { lines, follow } => {
            let path = NodePaths::new(&app.environment.home).log();
            tail::print(&app.printer, &path, *lines, *follow).await
        }
    }
}

async fn status(app: &App) -> Result<(), CommandError> {
    let client = connect::need(&app.environment).await?;
    let status = client.status().await.map_err(|e| client_error(&e))?;
    let services = client.services().await.map_err(|e| client_error(&e))?;
    if app.printer.json() {
        let services: Vec<_> = services
            .iter()
            .map(|service| {
                json!({
                    "id": service.id.to_string(), "status": service.phase.as_str(),
                    "digest": service.digest.to_string(), "generation": service.generation,
                    "instances": service.instances.iter().map(|i| json!({
                        "id": i.id, "pid": i.pid, "healthy": i.healthy, "restarts": i.restarts,
                        "address": i.address.map(|a| a.to_string()),
                    })).collect::<Vec<_>>(),
                })
            })
            .collect();
        return Ok(app.printer.json_document(&json!({
            "version": status.version, "pid": status.pid, "started": status.started,
            "gatewayUrl": status.gateway_url, "tableVersion": status.table_version,
            "tableRefusal": status.table_refusal, "routes": status.routes, "services": services,
            "ledger": status.ledger,
        }))?);
    }
    app.printer.line(&format!(
        "node {} (process {}), since {}",
        status.version,
        status.pid,
        to_the_second(&status.started)
    ))?;
    app.printer.line(&format!(
        "gateway {}, routes: {}, table: {}",
        status.gateway_url, status.routes, status.table_version
    ))?;
    for reason in &status.table_refusal {
        app.printer.line(&format!("refused: {reason}"))?;
    }
    for trouble in ledger_troubles(&status.ledger) {
        app.printer.line(&trouble)?;
    }
    for service in &services {
        let digest: String = service.digest.hex().chars().take(12).collect();
        app.printer.line(&format!(
            "{:<32} {:<12} {digest}",
            service.id.to_string(),
            service.phase.as_str()
        ))?;
        for instance in &service.instances {
            let health = if instance.healthy {
                "healthy"
            } else {
                "not healthy"
            };
            let pid = instance
                .pid
                .map_or_else(|| "–".to_owned(), |pid| pid.to_string());
            app.printer.line(&format!(
                "  {:<30} {health:<12} process {pid}, restarts: {}",
                instance.id, instance.restarts
            ))?;
        }
    }
    Ok(())
}

/// A time of RFC 3339 without its fraction: people read seconds.
fn to_the_second(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

async fn stop(app: &App, keep_services: bool) -> Result<(), CommandError> {
    let Some(client) = connect::find(&app.environment).await else {
        app.printer.say("no node runs");
        return Ok(());
    };
    let paths = NodePaths::new(&app.environment.home);
    client
        .shutdown(Shutdown {
            drain: DRAIN,
            keep_services,
        })
        .await
        .map_err(|e| client_error(&e))?;
    let gone = tokio::time::timeout(STOP_TIMEOUT, async {
        // The lock is released by the kernel with the process, so this is its true end.
        while is_locked(&paths) {
            tokio::time::sleep(POLL).await;
        }
    });
    if gone.await.is_err() {
        return Err(crate::failure::usage(
            "the node did not stop in time",
            format!("read `{}`", paths.log().display()),
        ));
    }
    app.printer.say("stopped the node");
    Ok(())
}

fn is_locked(paths: &NodePaths) -> bool {
    use rustix::fs::{FlockOperation, flock};
    fs_err::File::open(paths.pid())
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// What is wrong with the ledger of AI calls, in words.
fn ledger_troubles(ledger: &LedgerView) -> Vec<String> {
    let mut troubles = Vec::new();
    if ledger.full {
        troubles.push(format!(
            "ledger of AI calls: full, {} calls refused",
            ledger.refused
        ));
    }
    if ledger.behind {
        troubles.push("ledger of AI calls: the database takes no entries".to_owned());
    }
    if ledger.damaged_files > 0 {
        troubles.push(format!(
            "ledger of AI calls: {} damaged files, calls may be missing",
            ledger.damaged_files
        ));
    }
    troubles
}
