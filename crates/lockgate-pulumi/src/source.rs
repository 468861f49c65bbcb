//! The program as an engine source: server up, process started, and then: how did it end?
//!
//! Only three ends are good: the program said that it has registered everything; or it ended
//! with code 0 under an SDK that does not say so; and in both cases every request was answered.
//! Every other end is an error, and a run whose source ends with an error deletes nothing.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_diag::{Diagnostic, Secret, Severity, codes};
use lockgate_engine::source::SourceError;
use lockgate_engine::{Monitor, Source};
use lockgate_model::{PropertyMap, Value};
use tokio_util::sync::CancellationToken;

use crate::assets::Folders;
use crate::language::{Language, Place, Start, Toolchain};
use crate::monitor::{Deployment, Run, config_texts};
use crate::place::SourceFiles;
use crate::process::Program;
use crate::progress::Progress;
use crate::server::Server;

/// The exit code of a program that told the user of its failure itself.
const TOLD: i32 = 32;
/// How long a program may take to end once the engine has stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long a program may take to end after the run is over.
const EXIT_GRACE: Duration = Duration::from_secs(10);
/// How long the answers of a program that is gone may take to be given up.
const IDLE_GRACE: Duration = Duration::from_secs(5);

/// What a program is run with.
pub struct ProgramSettings {
    /// Its language.
    pub language: Language,
    /// Project name.
    pub project: String,
    /// Project folder, absolute.
    pub root: PathBuf,
    /// `main` of the project file.
    pub main: Option<String>,
    /// `runtime.options` of the project file.
    pub options: BTreeMap<String, Value>,
    /// Stack name.
    pub stack: String,
    /// Organization name.
    pub organization: String,
    /// Config in clear by `namespace:key`, secret values wrapped.
    pub config: PropertyMap,
    /// Most provider calls at once; the SDK sizes its own pools by it.
    pub parallel: u32,
    /// Whether independent resources go on after one failed.
    pub continue_on_error: bool,
    /// The environment that the program inherits.
    pub env: Vec<(String, String)>,
    /// Folder for the start files that Lockgate brings.
    pub cache: PathBuf,
}

/// A Python or Node.js program, ready to run once.
pub struct PulumiSource {
    toolchain: Toolchain,
    place: Place,
    deployment: Arc<Deployment>,
    env: Vec<(String, String)>,
    cache: PathBuf,
    running: Option<Running>,
}

/// A program that has registered everything and waits for the end of the run.
struct Running {
    program: Program,
    run: Arc<Run>,
    /// Answers the last request of the program.
    _server: Server,
}

impl PulumiSource {
    /// Finds the interpreter and the SDK of the program.
    pub fn new(settings: ProgramSettings) -> Result<Self, Box<Diagnostic>> {
        let place = Place::new(&settings.root, settings.main.as_deref());
        let toolchain = Toolchain::find(settings.language, &place, &settings.options)?;
        let (config, secret_keys) = config_texts(&settings.config);
        Ok(Self {
            toolchain,
            place,
            deployment: Arc::new(Deployment {
                project: settings.project,
                stack: settings.stack,
                organization: settings.organization,
                config: Secret::new(config),
                secret_keys,
                parallel: settings.parallel,
                continue_on_error: settings.continue_on_error,
            }),
            env: settings.env,
            cache: settings.cache,
            running: None,
        })
    }

    fn new_run(&self, monitor: Arc<dyn Monitor>) -> Arc<Run> {
        Arc::new(Run {
            monitor,
            deployment: Arc::clone(&self.deployment),
            folders: Arc::new(Folders {
                root: self.place.root.clone(),
                program: self.place.folder.clone(),
            }),
            sources: SourceFiles::new(&self.place.root),
            progress: Arc::new(Progress::default()),
            released: CancellationToken::new(),
        })
    }

    fn start(&self, run: &Arc<Run>, server: &Server) -> Result<Program, SourceError> {
        let start = Start {
            place: &self.place,
            deployment: &self.deployment,
            address: server.address(),
            preview: run.monitor.is_preview(),
            env: &self.env,
            cache: &self.cache,
        };
        let launch = self.toolchain.launch(&start).map_err(|error| {
            let text = "the start file of the program cannot be written";
            told(Diagnostic::error(codes::program::PROGRAM_FAILED, text).caused_by(&error))
        })?;
        let interpreter = launch.program.display().to_string();
        let monitor = Arc::clone(&run.monitor);
        let say = Arc::new(move |line| monitor.log(Severity::Info, None, line));
        Program::start(launch, say).map_err(|error| {
            let text = format!("`{interpreter}` cannot be started");
            told(
                Diagnostic::error(codes::program::TOOLCHAIN_MISSING, text)
                    .caused_by(&error)
                    .hint("install it, or add its folder to PATH"),
            )
        })
    }

    /// What the end of the process means.
    fn verdict(
        &self,
        status: ExitStatus,
        program: &Program,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        if progress.is_stopped() {
            return Err(SourceError::Stopped);
        }
        if status.success() {
            if let Some(why) = progress.lost() {
                return Err(incomplete(&why));
            }
            if self.toolchain.signals_end() && !progress.is_signalled() {
                return Err(incomplete("it left before its resources were awaited"));
            }
            return Ok(());
        }
        if status.code() == Some(TOLD) && progress.is_told() {
            return Err(SourceError::Stopped);
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        let mut diagnostic =
            Diagnostic::error(codes::program::PROGRAM_FAILED, format!("the program {how}"));
        for line in program
            .last_lines()
            .into_iter()
            .filter(|l| !l.trim().is_empty())
        {
            diagnostic = diagnostic.cause(line);
        }
        Err(told(diagnostic))
    }
}

/// The end of a program, with what it wanted and cannot have: what SDKs say of it themselves
/// blames the version of another program.
fn explained(error: SourceError, unsupported: Option<String>) -> SourceError {
    let Some(what) = unsupported else {
        return error;
    };
    let text = format!("the program uses {what}, which this version of lockgate does not have");
    let diagnostic = Diagnostic::error(codes::program::NOT_SUPPORTED, text)
        .hint("docs/reference/compatibility.md lists what programs may use");
    match error {
        SourceError::Stopped => told(diagnostic),
        SourceError::Diagnostics(mut diagnostics) => {
            diagnostics.push(diagnostic);
            SourceError::Diagnostics(diagnostics)
        }
        failed @ SourceError::Failed(_) => failed,
    }
}

fn told(diagnostic: Diagnostic) -> SourceError {
    SourceError::Diagnostics(vec![diagnostic])
}

/// The end of a program that may have wanted more than arrived.
fn incomplete(why: &str) -> SourceError {
    told(
        Diagnostic::error(
            codes::program::PROGRAM_INCOMPLETE,
            "not everything that the program registers has arrived; nothing was deleted",
        )
        .cause(why),
    )
}

#[async_trait]
impl Source for PulumiSource {
    async fn run(&mut self, monitor: Arc<dyn Monitor>) -> Result<(), SourceError> {
        let run = self.new_run(monitor);
        let progress = Arc::clone(&run.progress);
        let server = Server::start(Arc::clone(&run)).await.map_err(|error| {
            let text = "the server for the program cannot listen on a loopback port";
            told(Diagnostic::error(codes::program::PROGRAM_FAILED, text).caused_by(&error))
        })?;
        // Dropping it, as an interrupt does with this future, kills the program.
        let mut program = self.start(&run, &server)?;
        let ended = tokio::select! {
            () = progress.settled() => None,
            status = program.wait() => Some(status),
        };
        match ended {
            Some(Ok(status)) => {
                // Its connections break with it; a request on one of them is a loss.
                let _ = tokio::time::timeout(IDLE_GRACE, progress.idle()).await;
                let verdict = self.verdict(status, &program, &progress);
                verdict.map_err(|error| explained(error, progress.unsupported()))
            }
            Some(Err(error)) => Err(SourceError::Failed(format!(
                "the program cannot be waited for: {error}"
            ))),
            None if progress.is_stopped() => {
                program.end_within(STOP_GRACE).await;
                Err(SourceError::Stopped)
            }
            None => {
                let lost = progress.lost();
                self.running = Some(Running {
                    program,
                    run,
                    _server: server,
                });
                lost.map_or(Ok(()), |why| Err(incomplete(&why)))
            }
        }
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        running.run.released.cancel();
        let progress = &running.run.progress;
        match running.program.end_within(EXIT_GRACE).await {
            Some(status) => self.verdict(status, &running.program, progress),
            None => {
                let text = format!("the program did not end within {EXIT_GRACE:?} and was killed");
                running.run.monitor.log(Severity::Warning, None, text);
                Ok(())
            }
        }
    }
}
