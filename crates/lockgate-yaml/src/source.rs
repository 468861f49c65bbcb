//! The program at work: entries in dependency order, as many at once as are ready.

mod component;
mod effects;
mod place;
mod position;
mod register;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lockgate_diag::{Diagnostic, Severity, SourceFile};
use lockgate_engine::source::{InvokeOutcome, MonitorError, Registered, SourceError};
use lockgate_engine::{Monitor, Source};
use lockgate_model::{Urn, Value};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::check::Checked;
use crate::evaluate::{ByUrn, Evaluator, Failure, Resolved, Results, Tracked};
use crate::expression::Expression;
use crate::files::Files;
use crate::program::EntryKind;
use place::Declared;
use position::LineTable;

/// Most entries of one scope under way at once: enough to keep an engine busy, and a bound on
/// memory.
const IN_FLIGHT_MAX: usize = 1024;

/// A checked program as the engine runs it. A clone is the same program, not checked again.
#[derive(Clone)]
pub struct YamlSource {
    checked: Arc<Checked>,
    files: Arc<dyn Files>,
}

impl YamlSource {
    /// A source that reads the files of the program through `files`.
    pub fn new(checked: Checked, files: Arc<dyn Files>) -> Self {
        Self {
            checked: Arc::new(checked),
            files,
        }
    }

    /// Number of resources the program declares.
    pub fn resource_count(&self) -> usize {
        self.checked.program.resource_count()
    }
}

#[async_trait]
impl Source for YamlSource {
    async fn run(&mut self, monitor: Arc<dyn Monitor>) -> Result<(), SourceError> {
        let lines = self.checked.program.files.iter();
        let shared = Shared {
            program: &self.checked,
            preview: monitor.is_preview(),
            files: Arc::clone(&self.files),
            lines: lines.map(|f| LineTable::new(f)).collect(),
            stacks: Mutex::new(HashMap::new()),
            by_urn: ByUrn::default(),
            monitor,
        };
        Run::new(&self.checked, &shared, None).program().await
    }
}

/// Why an entry has no result.
enum Ended {
    /// Mistakes, to be reported at the end.
    Mistakes(Vec<Diagnostic>),
    /// A failure that the engine reported.
    Reported,
    /// The run stops.
    Stopped,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Mistakes(vec![*failure])
    }
}

impl From<MonitorError> for Ended {
    fn from(error: MonitorError) -> Self {
        match error {
            MonitorError::Failed(_) => Self::Reported,
            MonitorError::Stopped => Self::Stopped,
        }
    }
}

/// The run was stopped from outside.
struct Stopped;

/// What one run of a program and of every component in it shares.
struct Shared<'c> {
    /// The whole program, bodies of components included.
    program: &'c Arc<Checked>,
    monitor: Arc<dyn Monitor>,
    preview: bool,
    files: Arc<dyn Files>,
    lines: Vec<LineTable>,
    /// Stacks read by `fn::stackReference`: each is read once, whoever asks first. The lock is
    /// held to find the cell only, never over the read.
    stacks: Mutex<HashMap<String, Arc<OnceCell<Registered>>>>,
    by_urn: ByUrn,
}

/// One run of a program, or of a component in it.
struct Run<'c> {
    checked: &'c Checked,
    shared: &'c Shared<'c>,
    results: Results,
    /// The component that is run.
    instance: Option<Instance>,
}

/// A component as its user made it.
struct Instance {
    /// Its place among the components of the program.
    component: usize,
    /// Its use.
    declared: Arc<Declared>,
    urn: Urn,
    /// Begins the names of the resources inside, so that two uses do not meet.
    name: String,
    inputs: BTreeMap<String, Tracked>,
}

/// What the entries and outputs of a scope came to.
struct Body {
    outputs: BTreeMap<String, Tracked>,
    mistakes: Vec<Diagnostic>,
    /// Everything succeeded.
    whole: bool,
}

impl<'c> Run<'c> {
    fn new(checked: &'c Checked, shared: &'c Shared<'c>, instance: Option<Instance>) -> Self {
        Self {
            checked,
            shared,
            results: Results::new(checked.program.entries.len(), &shared.by_urn),
            instance,
        }
    }

    async fn program(&self) -> Result<(), SourceError> {
        let mut body = self.body().await.map_err(|Stopped| SourceError::Stopped)?;
        let outputs = body.outputs.into_iter();
        let outputs = outputs.map(|(name, t)| (name, t.value)).collect();
        let monitor = &self.shared.monitor;
        match monitor.register_outputs(monitor.stack_urn(), outputs).await {
            Ok(()) => {}
            Err(MonitorError::Failed(_)) => body.whole = false,
            Err(MonitorError::Stopped) => return Err(SourceError::Stopped),
        }
        if !body.mistakes.is_empty() {
            return Err(SourceError::Diagnostics(body.mistakes));
        }
        if body.whole {
            Ok(())
        } else {
            Err(SourceError::Stopped)
        }
    }

    async fn body(&self) -> Result<Body, Stopped> {
        let mut mistakes = Vec::new();
        let mut whole = self.entries(&mut mistakes).await?;
        let outputs = self.outputs(&mut mistakes, &mut whole).await?;
        Ok(Body {
            outputs,
            whole: whole && mistakes.is_empty(),
            mistakes,
        })
    }

    /// Evaluates the entries; whether all of them succeeded.
    async fn entries(&self, mistakes: &mut Vec<Diagnostic>) -> Result<bool, Stopped> {
        let needs = &self.checked.dependencies;
        let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut users = vec![Vec::new(); needs.len()];
        for (index, list) in needs.iter().enumerate() {
            for to in list {
                users[*to].push(index);
            }
        }
        // Ordered, so that what is ready starts in the order of the file.
        let mut ready: BTreeSet<usize> = (0..needs.len()).filter(|i| missing[*i] == 0).collect();
        let mut running = FuturesUnordered::new();
        let mut whole = true;
        loop {
            while running.len() < IN_FLIGHT_MAX
                && let Some(index) = ready.pop_first()
            {
                running.push(Box::pin(async move { (index, self.entry(index).await) }));
            }
            let Some((index, outcome)) = running.next().await else {
                return Ok(whole);
            };
            match outcome {
                Ok(resolved) => {
                    self.results.set(index, resolved);
                    for user in &users[index] {
                        missing[*user] -= 1;
                        if missing[*user] == 0 {
                            ready.insert(*user);
                        }
                    }
                }
                // Users of a failed entry never become ready: its report is the only one.
                Err(Ended::Mistakes(more)) => {
                    whole = false;
                    mistakes.extend(more);
                }
                Err(Ended::Reported) => whole = false,
                Err(Ended::Stopped) => return Err(Stopped),
            }
        }
    }

    async fn entry(&self, index: usize) -> Result<Resolved, Ended> {
        let entry = &self.checked.program.entries[index];
        let slots = self.effects(entry.file, &entry.expressions()).await?;
        let mut evaluator = self.evaluator(entry.file, &slots);
        match &entry.kind {
            EntryKind::Variable(expression) => {
                let tracked = evaluator.tracked(expression)?;
                self.warn(evaluator.warnings);
                Ok(Resolved::Value(tracked))
            }
            EntryKind::Config(config) => {
                let tracked = evaluator.config(entry, config)?;
                self.warn(evaluator.warnings);
                Ok(Resolved::Value(tracked))
            }
            EntryKind::Input(input) => {
                let given = self
                    .instance
                    .as_ref()
                    .and_then(|i| i.inputs.get(&*entry.name));
                let tracked = evaluator.input(entry, input, given)?;
                self.warn(evaluator.warnings);
                Ok(Resolved::Value(tracked))
            }
            EntryKind::Resource(resource) => {
                let planned = self.plan(index, resource, &mut evaluator)?;
                self.warn(std::mem::take(&mut evaluator.warnings));
                self.register(index, planned).await
            }
        }
    }

    /// Outputs whose sources all succeeded.
    async fn outputs(
        &self,
        mistakes: &mut Vec<Diagnostic>,
        whole: &mut bool,
    ) -> Result<BTreeMap<String, Tracked>, Stopped> {
        let mut outputs = BTreeMap::new();
        for output in &self.checked.program.outputs {
            if !self.is_ready(&output.value) {
                *whole = false;
                continue;
            }
            match self.output(output.file, &output.value).await {
                Ok(value) => {
                    outputs.insert(output.name.clone(), value);
                }
                Err(Ended::Mistakes(more)) => mistakes.extend(more),
                Err(Ended::Reported) => *whole = false,
                Err(Ended::Stopped) => return Err(Stopped),
            }
        }
        Ok(outputs)
    }

    async fn output(&self, file: usize, expression: &Expression) -> Result<Tracked, Ended> {
        let slots = self.effects(file, &[expression]).await?;
        let mut evaluator = self.evaluator(file, &slots);
        let tracked = evaluator.tracked(expression)?;
        self.warn(evaluator.warnings);
        Ok(tracked)
    }

    fn is_ready(&self, expression: &Expression) -> bool {
        let mut ready = true;
        expression.references(&mut |reference| {
            if let Some(index) = self.checked.names.get(&reference.root) {
                ready &= self.results.get(*index).is_some();
            }
        });
        ready
    }

    fn evaluator<'e>(&'e self, file: usize, slots: &'e HashMap<u32, Tracked>) -> Evaluator<'e> {
        Evaluator {
            checked: self.checked,
            results: &self.results,
            file: self.file(file),
            preview: self.shared.preview,
            slots,
            sources: Vec::new(),
            copied_bytes: 0,
            warnings: Vec::new(),
        }
    }

    fn file(&self, index: usize) -> &Arc<SourceFile> {
        &self.checked.program.files[index]
    }

    fn warn(&self, warnings: Vec<Diagnostic>) {
        for warning in warnings {
            let place = warning.labels.first().map_or_else(String::new, |label| {
                let (line, column) = label.file.line_column(label.span.start);
                format!("{}:{line}:{column}: ", label.file.path)
            });
            let hints = warning.hints.join("; ");
            let text = format!("{place}{}; {hints}", warning.message);
            self.shared.monitor.log(Severity::Warning, None, text);
        }
    }
}

/// The answer of an invoke as a value.
fn answer(outcome: InvokeOutcome, pick: Option<&str>) -> Value {
    match (outcome, pick) {
        (None, _) => Value::Unknown,
        (Some(mut map), Some(name)) => map.remove(name).unwrap_or_default(),
        (Some(map), None) => Value::Map(map),
    }
}
