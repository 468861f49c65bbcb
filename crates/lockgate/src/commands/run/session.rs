//! What a run works with: the stack under its lease, its config in clear, the packages.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use lockgate_config::Project;
use lockgate_engine::event::RunResult as EngineResult;
use lockgate_engine::{Journal, Providers, RunOutcome, Source};
use lockgate_model::{Digest, PropertyMap, Snapshot, StepOp, Timestamp, Value};
use lockgate_state::{
    Backend, ConfigEntry, HistoryEntry, Lease, RunKind, RunResult, StackJournal, StackName,
};
use lockgate_yaml::YamlSource;

use super::Ended;
use crate::cli::Run;
use crate::failure::CommandError;
use crate::workspace::{App, config_secrets, config_values, package_config, state_error};
use crate::{packages, program};

const SERVICE: &str = "lockgate:service:Service";

/// The open stack. A session for a change holds the lease until [`Session::close`].
pub(crate) struct Session {
    pub(crate) stack: StackName,
    pub(crate) config: PropertyMap,
    pub(crate) package_config: BTreeMap<String, PropertyMap>,
    project: Project,
    backend: Arc<Backend>,
    base: Arc<Snapshot>,
    providers: Arc<dyn Providers>,
    /// The program, if it is one in YAML and was loaded already.
    yaml: OnceLock<YamlSource>,
    change: Option<Change>,
}

/// What only a change has.
struct Change {
    lease: Lease,
    journal: Arc<StackJournal>,
    entry: HistoryEntry,
}

impl Session {
    /// Opens a stack that may not exist yet, without writing anything.
    pub(crate) fn open_for_preview(app: &App, _args: &Run) -> Result<Self, CommandError> {
        let project = app.project()?;
        let backend = app.backend(&project)?;
        let stack = app.stack_name(&project, &backend)?;
        let file = app.stack_config(&app.stack_file(&project, &stack))?;
        let (base, own) = if backend.exists(&stack) {
            let loaded = backend.load(&stack).map_err(|e| state_error(&e))?;
            (loaded.snapshot, Some(loaded.secrets))
        } else {
            (Arc::new(Snapshot::default()), None)
        };
        let config = match own {
            Some(own) => config_values(&file, &config_secrets(&file, &backend, &own)?)?,
            None => packages::plain_config(&file, &backend)?,
        };
        Self::new(app, project, backend, stack, config, base, None)
    }

    /// Opens a stack under its lease, makes it if it is the first, recovers what a dead run left.
    pub(crate) fn open_for_change(
        app: &App,
        args: &Run,
        kind: RunKind,
    ) -> Result<Self, CommandError> {
        let project = app.project()?;
        let backend = app.backend(&project)?;
        let stack = if matches!(kind, RunKind::Update | RunKind::Import) {
            let stack = app.stack_name(&project, &backend)?;
            if !backend.exists(&stack) {
                crate::commands::stack::create(app, &project, &backend, &stack, None)?;
                app.printer.say(&format!("made stack `{}`", stack.stack()));
            }
            stack
        } else {
            app.existing_stack(&project, &backend)?
        };
        let purpose = format!("lockgate {}", command_name(kind));
        let lease = backend
            .acquire(&stack, &purpose)
            .map_err(|e| state_error(&e))?;
        let (loaded, journal) = backend.start_run(&lease).map_err(|e| state_error(&e))?;
        if let Some(recovery) = &loaded.recovered {
            app.printer.say(&format!(
                "recovered {} journal entries of a run that did not end",
                recovery.entries
            ));
        }
        let file = app.stack_config(&app.stack_file(&project, &stack))?;
        let secrets = config_secrets(&file, &backend, &loaded.secrets)?;
        let config = config_values(&file, &secrets)?;
        let entry = HistoryEntry {
            version: backend
                .next_history_version(&stack)
                .map_err(|e| state_error(&e))?,
            kind,
            start: app.clock.now(),
            end: None,
            message: args.message.clone().unwrap_or_default(),
            environment: BTreeMap::new(),
            config: history_config(&file),
            result: RunResult::InProgress,
            resource_changes: BTreeMap::new(),
            images: BTreeMap::new(),
        };
        backend
            .save_history(&lease, &entry)
            .map_err(|e| state_error(&e))?;
        let change = Change {
            lease,
            journal: Arc::new(journal),
            entry,
        };
        Self::new(
            app,
            project,
            backend,
            stack,
            config,
            loaded.snapshot,
            Some(change),
        )
    }

    fn new(
        app: &App,
        project: Project,
        backend: Backend,
        stack: StackName,
        config: PropertyMap,
        base: Arc<Snapshot>,
        change: Option<Change>,
    ) -> Result<Self, CommandError> {
        let backend = Arc::new(backend);
        let providers = packages::providers(app, &project, &backend)?;
        let package_config = package_config(&config);
        Ok(Self {
            stack,
            config,
            package_config,
            project,
            backend,
            base,
            providers,
            yaml: OnceLock::new(),
            change,
        })
    }

    /// The state to start from.
    pub(crate) fn base(&self) -> Snapshot {
        (*self.base).clone()
    }

    /// Resources with a provider behind them.
    pub(crate) fn managed(&self) -> u64 {
        let managed = |r: &&Arc<lockgate_model::ResourceState>| r.custom && !r.is_provider();
        self.base.resources.iter().filter(managed).count() as u64
    }

    /// The program, ready to run once.
    pub(crate) fn source(&self, app: &App, args: &Run) -> Result<Box<dyn Source>, CommandError> {
        let config = self.config.clone();
        program::source(
            app,
            args,
            &self.project,
            &self.stack,
            config,
            &self.providers,
            &self.yaml,
        )
    }

    pub(crate) fn providers(&self) -> Arc<dyn Providers> {
        Arc::clone(&self.providers)
    }

    pub(crate) fn journal(&self) -> Option<Arc<dyn Journal>> {
        self.change
            .as_ref()
            .map(|change| Arc::clone(&change.journal) as _)
    }

    /// Folds the journal into the snapshot, writes the history, gives the lease back.
    pub(crate) async fn close(self, app: &App, ended: Ended) -> Result<(), CommandError> {
        let Some(change) = self.change else {
            return ended.result;
        };
        let Change {
            lease,
            journal,
            mut entry,
        } = change;
        let committed = journal.commit().await.map_err(|e| state_error(&e));
        drop(journal);
        entry.end = Some(app.clock.now());
        entry.result = match &ended.result {
            Ok(()) => RunResult::Succeeded,
            Err(_) => RunResult::Failed,
        };
        if let Some(outcome) = &ended.outcome {
            entry.resource_changes = changes(outcome);
            entry.images = images(&outcome.snapshot);
            if outcome.summary.result != EngineResult::Succeeded {
                entry.result = RunResult::Failed;
            }
        }
        let written = committed.and_then(|_| {
            self.backend
                .save_history(&lease, &entry)
                .map_err(|e| state_error(&e))
        });
        let released = lease.release().map_err(|e| state_error(&e));
        // The run's own failure is the first cause; what followed from it comes second.
        ended.result.and(written).and(released)
    }
}

const fn command_name(kind: RunKind) -> &'static str {
    match kind {
        RunKind::Update => "up",
        RunKind::Preview => "preview",
        RunKind::Refresh => "refresh",
        RunKind::Destroy => "destroy",
        RunKind::Import => "import",
        RunKind::Rollback => "rollback",
        RunKind::State => "state",
    }
}

/// The config as stored: cells, never plaintext.
fn history_config(file: &lockgate_config::StackConfig) -> BTreeMap<String, ConfigEntry> {
    use lockgate_config::ConfigValue;
    let mut entries = BTreeMap::new();
    for (key, value) in &file.values {
        let entry = match value {
            ConfigValue::Secure(cell) => ConfigEntry::Secure(cell.clone()),
            ConfigValue::Plain(value) => ConfigEntry::Plain(value.to_string()),
            other if other.is_secret() => ConfigEntry::Plain(lockgate_diag::REDACTED.to_owned()),
            other => ConfigEntry::Plain(format!("{other:?}")),
        };
        entries.insert(key.clone(), entry);
    }
    entries
}

fn changes(outcome: &RunOutcome) -> BTreeMap<StepOp, u64> {
    StepOp::ALL
        .into_iter()
        .filter_map(|op| Some((op, *outcome.summary.changes.get(op.as_str())?)))
        .collect()
}

/// The digest that each service runs.
fn images(snapshot: &Snapshot) -> BTreeMap<String, Digest> {
    let services = snapshot
        .resources
        .iter()
        .filter(|r| r.type_token() == SERVICE);
    services
        .filter_map(|r| {
            let text = r.outputs.get("digest").and_then(Value::as_str)?;
            let name = r.urn.as_ref()?.name().to_owned();
            Some((name, Digest::parse(text).ok()?))
        })
        .collect()
}

/// When a state entry was written, in words.
pub(crate) fn moment(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "–".to_owned(),
        |at| Timestamp::from_secs(at.as_secs()).to_string(),
    )
}
