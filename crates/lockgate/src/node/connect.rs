//! Finding the node of the home folder, or starting one in the background.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use lockgate_api::{Client, ClientError, Target};
use lockgate_diag::{Diagnostic, codes};

use super::paths::NodePaths;
use crate::failure::CommandError;
use crate::settings::Environment;

/// Time a node has to answer after its start: opening a database on a slow disk takes seconds.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two looks at a node that starts.
const POLL: Duration = Duration::from_millis(5);
/// Last lines of the log that explain why a node did not start.
const LOG_LINES: usize = 15;

/// The running node of the home folder, if there is one.
pub(crate) async fn find(environment: &Environment) -> Option<Client> {
    let paths = NodePaths::new(&environment.home);
    let target = Target::Unix(paths.socket());
    Client::connect(target).await.ok().map(|(client, _)| client)
}

/// The running node, or a new one; `say` takes one line when one is started.
pub(crate) async fn find_or_start(
    environment: &Environment,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<Client, Diagnostic> {
    let paths = NodePaths::new(&environment.home);
    let target = Target::Unix(paths.socket());
    match Client::connect(target.clone()).await {
        Ok((client, _)) => return Ok(client),
        Err(ClientError::Unreachable { .. }) => {}
        Err(error) => return Err(start_failed(&paths).caused_by(&error)),
    }
    let mut child =
        spawn(environment, &paths).map_err(|error| start_failed(&paths).caused_by(&error))?;
    let waited = tokio::time::timeout(START_TIMEOUT, async {
        loop {
            if let Ok((client, status)) = Client::connect(target.clone()).await {
                return Ok((client, status));
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(status);
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    match waited {
        Ok(Ok((client, status))) => {
            say(&format!(
                "started a node (process {}, gateway {}); stop it with `lockgate node stop`",
                status.pid, status.gateway_url
            ));
            Ok(client)
        }
        Ok(Err(status)) => Err(start_failed(&paths).cause(format!("it ended: {status}"))),
        Err(_) => Err(start_failed(&paths).cause("it did not answer in time")),
    }
}

fn spawn(environment: &Environment, paths: &NodePaths) -> std::io::Result<std::process::Child> {
    fs_err::create_dir_all(paths.folder())?;
    let log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(paths.log())?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("serve")
        .env_clear()
        .envs(environment.child.iter().map(|(name, value)| (name, value)))
        .env("LOCKGATE_HOME", &environment.home)
        .envs(
            environment
                .fault
                .iter()
                .map(|fault| ("LOCKGATE_TEST_FAULT", fault)),
        )
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.into_file())
        // Its own group: Ctrl-C in the terminal is for the command, not for the node.
        .process_group(0);
    command.spawn()
}

fn start_failed(paths: &NodePaths) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(codes::store::NODE_START, "the node did not start")
        .hint(format!(
            "read `{}`, or run `lockgate serve` to see it fail",
            paths.log().display()
        ));
    let log = fs_err::read_to_string(paths.log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
        diagnostic = diagnostic.cause(*line);
    }
    diagnostic
}

/// The running node; an error that says how to start one.
pub(crate) async fn need(environment: &Environment) -> Result<Client, CommandError> {
    find(environment).await.ok_or_else(|| {
        CommandError::Failed(vec![
            Diagnostic::error(codes::store::NO_NODE, "no node runs")
                .hint("run `lockgate node start`"),
        ])
    })
}

/// A client error as a diagnostic.
pub(crate) fn client_error(error: &ClientError) -> CommandError {
    let diagnostic = match error {
        ClientError::Refused(problem) => {
            let mut diagnostic =
                Diagnostic::error(codes::store::NODE_REFUSED, problem.detail.clone());
            for cause in &problem.causes {
                diagnostic = diagnostic.cause(cause.clone());
            }
            for hint in &problem.hints {
                diagnostic = diagnostic.hint(hint.clone());
            }
            diagnostic
        }
        other => Diagnostic::error(codes::store::NO_NODE, "the node did not answer")
            .caused_by(other)
            .hint("run `lockgate node status`"),
    };
    CommandError::Failed(vec![diagnostic])
}
