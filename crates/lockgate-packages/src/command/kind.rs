//! `command:local:Command` and `command:local:run`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_diag::Severity;
use lockgate_engine::event::EngineEvent;
use lockgate_engine::provider::{
    CallContext, CheckFailure, CreateRequest, CreateResponse, DeleteRequest, ProviderError,
    UpdateRequest,
};
use lockgate_model::{Digest, PropertyMap, Value};
use parking_lot::Mutex;

use super::CommandSettings;
use super::files::{Folder, find_archive, find_assets};
use super::mask::Mask;
use super::run::{Captured, RunError, Script, Stream, run};
use crate::bag;
use crate::chain;
use crate::check::failure;
use crate::package::{Function, Kind};
use crate::path::member;

/// Lines of output that a failure repeats.
const TAIL_LINES: usize = 20;
/// What takes a script when the program names nothing.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// The resource.
pub(super) struct Command(pub(super) Arc<CommandSettings>);

/// The function.
pub(super) struct Run(pub(super) Arc<CommandSettings>);

/// One script and everything it needs.
struct Call<'a> {
    settings: &'a CommandSettings,
    script: &'a str,
    /// Which property holds the script, for messages.
    property: &'static str,
    inputs: &'a PropertyMap,
    /// Outputs of the run before this one.
    previous: Option<&'a PropertyMap>,
    timeout: Option<Duration>,
}

impl Call<'_> {
    fn dir(&self) -> PathBuf {
        let project = &self.settings.project_dir;
        bag::text(self.inputs, "dir").map_or_else(|| project.clone(), |dir| project.join(dir))
    }

    fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.settings.base_env.clone();
        let wanted = bag::boolean(self.inputs, "addPreviousOutputInEnv").unwrap_or(true);
        if let Some(previous) = self.previous.filter(|_| wanted) {
            for (name, output) in [
                ("PULUMI_COMMAND_STDOUT", "stdout"),
                ("PULUMI_COMMAND_STDERR", "stderr"),
            ] {
                let text = bag::text(previous, output).unwrap_or_default();
                env.insert(name.to_owned(), text.to_owned());
            }
        }
        env.extend(bag::text_map(self.inputs, "environment"));
        env
    }

    fn argv(&self) -> Vec<String> {
        let mut argv = bag::texts(self.inputs, "interpreter");
        if argv.is_empty() {
            argv = SHELL.map(str::to_owned).into();
        }
        argv.push(self.script.to_owned());
        argv
    }

    /// Runs it; answers the outputs that a script makes.
    async fn run(&self, ctx: &CallContext) -> Result<PropertyMap, ProviderError> {
        let mask = Mask::of(std::iter::once(self.inputs).chain(self.previous));
        let tail = Mutex::new(std::collections::VecDeque::with_capacity(TAIL_LINES));
        let logging = bag::text(self.inputs, "logging").unwrap_or("stdoutAndStderr");
        let line = |stream: Stream, text: &str| {
            let text = mask.apply(text);
            let shown = match stream {
                Stream::Out => matches!(logging, "stdout" | "stdoutAndStderr"),
                Stream::Err => matches!(logging, "stderr" | "stdoutAndStderr"),
            };
            if shown {
                say(ctx, Severity::Info, text.clone());
            }
            let mut tail = tail.lock();
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(text);
        };
        let script = Script {
            argv: self.argv(),
            dir: self.dir(),
            env: self.env(),
            stdin: bag::text(self.inputs, "stdin").map(str::to_owned),
            timeout: self.timeout,
        };
        let ended = run(script, &ctx.cancel, &line).await.map_err(run_failed)?;
        if !ended.status.success() {
            let lines: Vec<String> = tail.into_inner().into();
            let end = lines.join("\n");
            let message = format!("`{}` ended with {}", self.property, ended.status);
            let message = if end.is_empty() {
                message
            } else {
                format!("{message}\n{end}")
            };
            return Err(ProviderError::failed(message));
        }
        for (name, stream) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
            if stream.cut {
                let text = format!("{name} is longer than 1 MiB; the outputs keep its beginning");
                say(ctx, Severity::Warning, text);
            }
        }
        self.outputs(ended.stdout, ended.stderr).await
    }

    async fn outputs(
        &self,
        stdout: Captured,
        stderr: Captured,
    ) -> Result<PropertyMap, ProviderError> {
        let mut outputs = PropertyMap::new();
        // What a script prints may repeat what it was given.
        let secret = self.inputs.values().any(Value::contains_secret);
        for (name, captured) in [("stdout", stdout), ("stderr", stderr)] {
            let text = captured.text.strip_suffix('\n').unwrap_or(&captured.text);
            let value = Value::from(text);
            let value = if secret { value.into_secret() } else { value };
            outputs.insert(name.to_owned(), value);
        }
        let assets = bag::texts(self.inputs, "assetPaths");
        let archive = bag::texts(self.inputs, "archivePaths");
        if assets.is_empty() && archive.is_empty() {
            return Ok(outputs);
        }
        let folder = Folder {
            dir: self.dir(),
            shown: Path::new(bag::text(self.inputs, "dir").unwrap_or_default()).to_owned(),
        };
        let found = tokio::task::spawn_blocking(move || {
            let mut found = PropertyMap::new();
            if !assets.is_empty() {
                let assets = find_assets(&folder, &assets)?;
                found.insert("assets".to_owned(), Value::Map(assets));
            }
            if !archive.is_empty() {
                let archive = find_archive(&folder, &archive)?;
                found.insert("archive".to_owned(), Value::Archive(archive));
            }
            Ok(found)
        });
        let found = found
            .await
            .map_err(|error| ProviderError::failed(error.to_string()))?
            .map_err(|error: super::files::FilesError| ProviderError::failed(chain(&error)))?;
        outputs.extend(found);
        Ok(outputs)
    }
}

fn say(ctx: &CallContext, severity: Severity, text: String) {
    ctx.events.emit(EngineEvent::Message {
        severity,
        urn: Some(ctx.urn.clone()),
        text,
        ephemeral: false,
    });
}

fn run_failed(error: RunError) -> ProviderError {
    match error {
        RunError::Cancelled => ProviderError::Cancelled,
        other => ProviderError::failed(chain(&other)),
    }
}

/// Outputs that only a run can tell.
fn unknown_results(inputs: &PropertyMap, mut outputs: PropertyMap) -> PropertyMap {
    let secret = inputs.values().any(Value::contains_secret);
    for (name, wanted) in [
        ("stdout", true),
        ("stderr", true),
        ("assets", !bag::list(inputs, "assetPaths").is_empty()),
        ("archive", !bag::list(inputs, "archivePaths").is_empty()),
    ] {
        if wanted {
            let value = if secret {
                Value::Unknown.into_secret()
            } else {
                Value::Unknown
            };
            outputs.insert(name.to_owned(), value);
        }
    }
    outputs
}

/// Outputs of a command that has nothing to run: the files are still looked up.
async fn without_script(
    call: Call<'_>,
    previous: Option<&PropertyMap>,
) -> Result<PropertyMap, ProviderError> {
    let mut outputs = call
        .outputs(Captured::default(), Captured::default())
        .await?;
    for name in ["stdout", "stderr"] {
        if let Some(value) = previous.and_then(|p| p.get(name)) {
            outputs.insert(name.to_owned(), value.clone());
        }
    }
    Ok(outputs)
}

fn with_inputs(inputs: PropertyMap, results: PropertyMap) -> PropertyMap {
    let mut outputs = inputs;
    outputs.extend(results);
    outputs
}

#[async_trait]
impl Kind for Command {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        let odd = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
        let names = bag::map(inputs, "environment").into_iter().flatten();
        let failures = names.map(|(name, _)| name).filter(odd);
        failures
            .map(|name| {
                let reason = format!("`{name}` cannot name a variable");
                failure(member("environment", name), reason)
            })
            .collect()
    }

    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let call = Call {
            settings: &self.0,
            script: bag::text(&req.inputs, "create").unwrap_or_default(),
            property: "create",
            inputs: &req.inputs,
            previous: None,
            timeout: req.timeout,
        };
        let results = if call.script.is_empty() {
            without_script(call, None).await?
        } else {
            call.run(ctx).await?
        };
        let id = Digest::of(req.idempotency_key.as_bytes()).hex();
        Ok(CreateResponse {
            id: format!("create{}", &id[..16]),
            outputs: with_inputs(req.inputs, results),
        })
    }

    async fn foretell(
        &self,
        _ctx: &CallContext,
        inputs: &PropertyMap,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(unknown_results(inputs, outputs))
    }

    async fn update(
        &self,
        ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        let update = bag::text(&req.inputs, "update").filter(|s| !s.is_empty());
        let (property, script) = match update {
            Some(script) => ("update", script),
            None => (
                "create",
                bag::text(&req.inputs, "create").unwrap_or_default(),
            ),
        };
        let call = Call {
            settings: &self.0,
            script,
            property,
            inputs: &req.inputs,
            previous: Some(&req.old_outputs),
            timeout: req.timeout,
        };
        let results = if call.script.is_empty() {
            without_script(call, Some(&req.old_outputs)).await?
        } else {
            call.run(ctx).await?
        };
        Ok(with_inputs(req.inputs, results))
    }

    async fn delete(&self, ctx: &CallContext, req: DeleteRequest) -> Result<(), ProviderError> {
        let Some(script) = bag::text(&req.old_inputs, "delete").filter(|s| !s.is_empty()) else {
            return Ok(());
        };
        let call = Call {
            settings: &self.0,
            script,
            property: "delete",
            inputs: &req.old_inputs,
            previous: Some(&req.old_outputs),
            timeout: req.timeout,
        };
        // Files are outputs of what lives on; a delete only runs its script.
        let inputs: PropertyMap = req
            .old_inputs
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "assetPaths" | "archivePaths"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let call = Call {
            inputs: &inputs,
            ..call
        };
        call.run(ctx).await.map(|_| ())
    }
}

#[async_trait]
impl Function for Run {
    async fn call(
        &self,
        ctx: &CallContext,
        args: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        let call = Call {
            settings: &self.0,
            script: bag::text(&args, "command").unwrap_or_default(),
            property: "command",
            inputs: &args,
            previous: None,
            timeout: None,
        };
        let results = call.run(ctx).await?;
        Ok(with_inputs(args, results))
    }
}
