//! What every platform does, and the words it does it with.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_diag::{Diagnostic, codes};
use lockgate_model::Timestamp;
use lockgate_model::gateway::EndpointSpec;
use lockgate_model::service::{HealthProbe, ServiceSpec};

/// One instance of a service, as asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceSpec {
    /// Names the instance on its node: 1 to 64 of `a-z`, `0-9` and `-`, never used twice.
    pub id: String,
    /// What to run. After adoption `secret_env` is empty: secrets never reach the disk.
    pub service: ServiceSpec,
    /// Rollout that made it.
    pub generation: u64,
}

/// A running instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Names it on its node.
    pub id: String,
    /// Where it is reached.
    pub endpoint: EndpointSpec,
    /// Pid of its sandbox, as the machine sees it.
    pub pid: u32,
    /// What its status must say: limits that could not be set, outbound network that is missing.
    pub notes: Vec<String>,
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitReport {
    /// What ended it.
    pub cause: ExitCause,
    /// When, if its sandbox lived to say so.
    pub at: Option<Timestamp>,
    /// The kernel killed a process of it because memory ran out.
    pub out_of_memory: bool,
    /// It ended badly while another process held its port: start it again, it gets a new one.
    pub port_taken: bool,
}

/// What ended an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCause {
    /// The program exited with this code.
    Code(i32),
    /// The program was ended by this signal.
    Signal(i32),
    /// The sandbox itself was killed, or never came to run the program.
    Killed,
}

/// An instance found after a restart of the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// As it was asked for, without secrets.
    pub spec: InstanceSpec,
    /// What became of it.
    pub state: AdoptedState,
}

/// What became of an instance while no node watched.
#[derive(Clone, Debug, PartialEq)]
pub enum AdoptedState {
    /// It runs; the platform watches it again.
    Running(Instance),
    /// It ended. [`Platform::stop`] removes what it left.
    Exited(ExitReport),
}

/// Which of the two output streams a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When the sandbox read it; wall time, milliseconds.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A place in the log of an instance; survives rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct LogCursor {
    /// Number of the file.
    pub file: u64,
    /// Byte in it.
    pub offset: u64,
}

/// Where to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFrom {
    /// The last lines.
    Last(usize),
    /// What came after a cursor. Lines that were rotated away are skipped.
    After(LogCursor),
}

/// Some lines, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogChunk {
    /// Lines in the order they were read from the program.
    pub lines: Vec<LogLine>,
    /// Pass it to the next call to follow.
    pub next: LogCursor,
}

/// Why a platform could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The image is not there or cannot be laid out.
    #[error("lay out image `{image}`")]
    Image {
        /// Its reference.
        image: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request itself cannot be met.
    #[error("{0}")]
    Spec(String),
    /// The sandbox could not be built.
    #[error("build the sandbox of `{instance}`: {step}")]
    Sandbox {
        /// Instance.
        instance: String,
        /// Step that failed.
        step: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The program of the image could not be started.
    #[error("start `{program}` of image `{image}`")]
    Program {
        /// Program as named by the image or the service.
        program: String,
        /// Image reference.
        image: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something on the machine failed.
    #[error("{operation}")]
    Io {
        /// What was tried, with its subject.
        operation: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no such instance.
    #[error("there is no instance `{0}` on this node")]
    NoInstance(String),
    /// The instance did not end in time, not even by a kill.
    #[error("instance `{instance}` is still there {after:?} after its kill")]
    Undying {
        /// Instance.
        instance: String,
        /// How long it was waited for.
        after: Duration,
    },
}

impl ServiceError {
    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }

    /// The error as a diagnostic, with a next step where one is known.
    pub fn diagnostic(&self) -> Diagnostic {
        let (code, hint) = match self {
            Self::Image { .. } => (codes::service::IMAGE_UNUSABLE, None),
            Self::Spec(_) => (codes::service::SPEC_REFUSED, None),
            Self::Program { .. } => (
                codes::service::PROGRAM_FAILED,
                Some(
                    "check ENTRYPOINT and CMD of the image; a dynamic program also needs its loader in it",
                ),
            ),
            Self::Sandbox { .. } => (
                codes::service::SANDBOX_FAILED,
                Some("run `lockgate doctor` to see what this machine does not allow"),
            ),
            Self::Io { .. } => (codes::service::MACHINE_FAILED, None),
            Self::NoInstance(_) => (codes::service::NO_INSTANCE, None),
            Self::Undying { .. } => (codes::service::MACHINE_FAILED, None),
        };
        let mut diagnostic = Diagnostic::error(code, self.to_string());
        if let Some(source) = std::error::Error::source(self) {
            diagnostic = diagnostic.caused_by(source);
        }
        match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    }
}

/// A place where services run. Calls for different instances run in parallel.
#[async_trait]
pub trait Platform: Send + Sync {
    /// Starts an instance and returns when its program runs; health is the caller's to await.
    /// Not cancel safe in effect: a dropped call leaves an instance that `adopt` or `stop` finds.
    async fn start(&self, spec: InstanceSpec) -> Result<Instance, ServiceError>;
    /// Finds what runs and what ended since the last node; to be called once, before `start`.
    async fn adopt(&self) -> Result<Vec<Adopted>, ServiceError>;
    /// Ends an instance: its stop signal, after `deadline` the kill; returns when every process
    /// is gone and what it left is removed. Stopping what is not there succeeds.
    async fn stop(&self, instance: &str, deadline: Duration) -> Result<(), ServiceError>;
    /// Waits until an instance has ended; answers at once when it has, or is unknown. Cancel safe.
    async fn exit(&self, instance: &str) -> ExitReport;
    /// Tries once whether an instance works; the error is a phrase for its status. Cancel safe.
    async fn probe(
        &self,
        instance: &str,
        probe: &HealthProbe,
        timeout: Duration,
    ) -> Result<(), String>;
    /// Reads at most 1,000 lines of output. Cancel safe.
    async fn logs(&self, instance: &str, from: LogFrom) -> Result<LogChunk, ServiceError>;
    /// Opens a connection to a port of an instance, through its own name space if it has one.
    async fn dial(&self, instance: &str, port: u16) -> io::Result<std::net::TcpStream>;
}
