//! One replica of a version: brought up, watched, restarted, ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::service::ServiceSpec;
use lockgate_service::{ExitCause, ExitReport, Instance, InstanceSpec, LogFrom};
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::backoff::Backoff;
use crate::state::{Replica, Version};

/// Longest wait between two probes of an instance that is coming up: a start is awaited by
/// someone, so it is probed more often than a running one.
const START_PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// Tries when another process took the port an instance was given: each try gets another port, so
/// two lost races in a row are already rare.
const PORT_TRIES: u32 = 3;

/// Lines of output that a failure carries.
const FAILURE_LINES: usize = 20;

/// Time a failed instance has to end by itself: it never served, so nothing is lost.
const FAILED_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Why an instance did not come up: the first cause, then the last lines of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartFailure {
    pub(crate) causes: Vec<String>,
    /// Another process took the port: another try gets another port.
    pub(crate) port_taken: bool,
}

impl StartFailure {
    fn new(cause: impl Into<String>) -> Self {
        Self {
            causes: vec![cause.into()],
            port_taken: false,
        }
    }
}

/// Why watching an instance ended.
enum End {
    Exited(ExitReport),
    Stopped,
    Closing,
}

impl Shared {
    /// Starts one instance and waits until it is healthy. On failure nothing is left of it.
    pub(crate) async fn bring_up(
        &self,
        spec: &ServiceSpec,
        generation: u64,
        cancel: &CancellationToken,
    ) -> Result<Instance, StartFailure> {
        for _ in 1..PORT_TRIES {
            match self.try_bring_up(spec, generation, cancel).await {
                Err(failure) if failure.port_taken => {}
                outcome => return outcome,
            }
        }
        self.try_bring_up(spec, generation, cancel).await
    }

    async fn try_bring_up(
        &self,
        spec: &ServiceSpec,
        generation: u64,
        cancel: &CancellationToken,
    ) -> Result<Instance, StartFailure> {
        let id = self.instance_id(&spec.id.name);
        let asked = InstanceSpec {
            id: id.clone(),
            service: spec.clone(),
            generation,
        };
        let outcome = match self.platform.start(asked).await {
            Ok(instance) => self.await_healthy(instance, spec, cancel).await,
            Err(error) => {
                let diagnostic = error.diagnostic();
                let mut failure = StartFailure::new(diagnostic.message);
                failure.causes.extend(diagnostic.causes);
                Err(failure)
            }
        };
        if let Err(failure) = outcome {
            let mut failure = failure;
            if let Ok(tail) = self.platform.logs(&id, LogFrom::Last(FAILURE_LINES)).await {
                failure
                    .causes
                    .extend(tail.lines.into_iter().map(|line| line.text));
            }
            self.stop_instance(&id, FAILED_STOP_TIMEOUT).await;
            return Err(failure);
        }
        outcome
    }

    async fn await_healthy(
        &self,
        instance: Instance,
        spec: &ServiceSpec,
        cancel: &CancellationToken,
    ) -> Result<Instance, StartFailure> {
        let health = &spec.health;
        let pause = health.interval.min(START_PROBE_INTERVAL);
        let mut last = "it was never probed".to_owned();
        let healthy = async {
            loop {
                match self
                    .platform
                    .probe(&instance.id, &health.probe, health.timeout)
                    .await
                {
                    Ok(()) => return,
                    Err(phrase) => last = phrase,
                }
                tokio::time::sleep(pause).await;
            }
        };
        let failure = tokio::select! {
            biased;
            () = cancel.cancelled() => StartFailure::new("the rollout was given up"),
            report = self.platform.exit(&instance.id) => StartFailure {
                causes: vec![format!("an instance {}", render_exit(&report))],
                port_taken: report.port_taken,
            },
            outcome = tokio::time::timeout(health.start_timeout, healthy) => match outcome {
                Ok(()) => return Ok(instance),
                Err(_) => StartFailure::new(format!(
                    "an instance was not healthy within {} s: {last}",
                    health.start_timeout.as_secs_f64()
                )),
            },
        };
        Err(failure)
    }

    /// Starts the watching task of every replica of a version.
    pub(crate) fn supervise_all(self: &Arc<Self>, version: &Arc<Version>) {
        for index in 0..version.replicas.len() {
            let (shared, version) = (Arc::clone(self), Arc::clone(version));
            let running = version.running.token();
            self.tasks.spawn("replica", async move {
                shared.supervise(&version, index).await;
                drop(running);
            });
        }
    }

    /// Keeps one replica running until its version is stopped or the node closes.
    async fn supervise(&self, version: &Version, index: usize) {
        let mut backoff = Backoff::new();
        let mut wait = Duration::ZERO;
        loop {
            let instance = version.replicas[index].lock().instance.clone();
            if let Some(instance) = instance {
                let since = self.clock.monotonic();
                match self.watch(version, index, &instance.id).await {
                    End::Closing => return,
                    End::Stopped => {
                        self.set(version, index, |replica| replica.healthy = false);
                        let deadline = version.spec.rollout.stop_timeout;
                        self.stop_instance(&instance.id, deadline).await;
                        return;
                    }
                    End::Exited(report) => {
                        self.set(version, index, |replica| {
                            replica.instance = None;
                            replica.healthy = false;
                        });
                        tracing::warn!(
                            service = %version.spec.id,
                            instance = %instance.id,
                            cause = %render_exit(&report),
                            "an instance ended"
                        );
                        backoff.lived(self.clock.monotonic().saturating_sub(since));
                        wait = backoff.advance();
                    }
                }
            }
            if version.retired.is_cancelled() || !self.pause(version, wait).await {
                self.forget_output(version, index).await;
                return;
            }
            wait = self.restart(version, index, &mut backoff).await;
        }
    }

    /// Starts an instance where there is none; the wait before the next try when it fails.
    async fn restart(&self, version: &Version, index: usize, backoff: &mut Backoff) -> Duration {
        match self
            .bring_up(&version.spec, version.generation, &version.stop)
            .await
        {
            Ok(instance) => {
                self.forget_output(version, index).await;
                self.set(version, index, |replica| {
                    replica.log_source = Some(instance.id.clone());
                    replica.instance = Some(instance);
                    replica.healthy = true;
                    replica.restarts = replica.restarts.saturating_add(1);
                });
                Duration::ZERO
            }
            Err(failure) => {
                tracing::warn!(
                    service = %version.spec.id,
                    cause = failure.causes.first().map_or("", String::as_str),
                    "an instance did not come up"
                );
                backoff.advance()
            }
        }
    }

    /// Waits; false when the version was stopped or the node closes first.
    async fn pause(&self, version: &Version, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = version.stop.cancelled() => false,
            () = self.tasks.closing().cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    async fn watch(&self, version: &Version, index: usize, instance: &str) -> End {
        tokio::select! {
            biased;
            () = version.stop.cancelled() => End::Stopped,
            () = self.tasks.closing().cancelled() => End::Closing,
            report = self.platform.exit(instance) => End::Exited(report),
            never = self.probe_on(version, index, instance) => match never {},
        }
    }

    /// Probes for as long as the instance is watched and keeps its health current.
    async fn probe_on(&self, version: &Version, index: usize, instance: &str) -> Infallible {
        let health = &version.spec.health;
        let mut failures = 0_u32;
        loop {
            tokio::time::sleep(health.interval).await;
            let probed = self
                .platform
                .probe(instance, &health.probe, health.timeout)
                .await;
            let was_healthy = version.replicas[index].lock().healthy;
            match probed {
                Ok(()) => {
                    failures = 0;
                    if !was_healthy {
                        self.set(version, index, |replica| replica.healthy = true);
                        tracing::info!(service = %version.spec.id, instance, "healthy again");
                    }
                }
                Err(cause) => {
                    failures = failures.saturating_add(1);
                    if was_healthy && failures >= health.fall {
                        self.set(version, index, |replica| replica.healthy = false);
                        tracing::warn!(service = %version.spec.id, instance, %cause, "unhealthy");
                    }
                }
            }
        }
    }

    fn set(&self, version: &Version, index: usize, edit: impl FnOnce(&mut Replica)) {
        edit(&mut version.replicas[index].lock());
        self.publish();
    }

    /// Removes what an ended instance left; its output is readable until then.
    async fn forget_output(&self, version: &Version, index: usize) {
        let ended = version.replicas[index].lock().log_source.take();
        if let Some(ended) = ended
            && !self.tasks.closing().is_cancelled()
        {
            self.stop_instance(&ended, Duration::ZERO).await;
        }
    }

    /// Ends an instance. A platform that cannot is told in the log: nobody else can act on it.
    pub(crate) async fn stop_instance(&self, id: &str, deadline: Duration) {
        if let Err(error) = self.platform.stop(id, deadline).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(instance = id, error, "an instance could not be stopped");
        }
    }

    /// A name no instance had before: the service's own, so that people find it, and random digits.
    fn instance_id(&self, service: &str) -> String {
        let plain = service.chars().map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '-',
        });
        let name: String = plain.take(40).collect();
        format!("{name}-{:016x}", self.rng.next_u64())
    }
}

fn render_exit(report: &ExitReport) -> String {
    let how = match report.cause {
        ExitCause::Code(code) => format!("exited with {code}"),
        ExitCause::Signal(signal) => format!("was ended by signal {signal}"),
        ExitCause::Killed => "was killed".into(),
    };
    match (report.out_of_memory, report.port_taken) {
        (true, _) => format!("{how}: its memory ran out"),
        (false, true) => format!("{how}: another process held its port"),
        (false, false) => how,
    }
}
