//! Expressions to values. Pure: calls with effects have run already and their results are given.
//!
//! Secrets and unknowns travel with the values they touch; the resources a value came from are
//! collected beside it.

mod functions;
mod options;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use lockgate_diag::codes::program::{CONFIG_VALUE, EVALUATION, WRONG_KIND};
use lockgate_diag::{Diagnostic, SourceFile, Span};
use lockgate_engine::source::Registered;
use lockgate_model::value::ResourceReference;
use lockgate_model::{PropertyMap, Urn, Value};
use parking_lot::RwLock;

use crate::check::{Checked, ResourceType, coerce};
use crate::expression::{Call, Expression, Function, Kind, Part, Reference, Step};
use crate::program::{ConfigEntry, ConfigType, Entry, EntryKind};

/// The wire sentinel of a text that is not known yet (engine guide, section 8); stands for the id
/// of a provider that a preview would create.
const UNKNOWN_TEXT: &str = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/// Most bytes that the references of one entry may copy: a chain of variables that each name the
/// last one twice would else double without end.
const VALUE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Roughly what a value takes in memory.
fn size(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(map) => map.iter().map(|(key, item)| key.len() + size(item)).sum(),
        Value::Secret(inner) => size(inner),
        _ => 0,
    };
    inner + size_of::<Value>()
}

/// A value and the resources it came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracked {
    pub(crate) value: Value,
    pub(crate) sources: Vec<Urn>,
}

/// What an entry turned out to be.
#[derive(Clone, Debug)]
pub(crate) enum Resolved {
    Value(Tracked),
    Resource(Arc<ResolvedResource>),
}

#[derive(Clone, Debug)]
pub(crate) struct ResolvedResource {
    pub(crate) urn: Urn,
    pub(crate) registered: Registered,
    pub(crate) kind: Arc<ResourceType>,
    pub(crate) version: Option<String>,
    pub(crate) inside: Option<Inside>,
}

/// What a component consists of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inside {
    /// Every resource in it, those of inner components too.
    pub(crate) members: Vec<Urn>,
    /// Where its outputs came from.
    pub(crate) sources: BTreeMap<String, Vec<Urn>>,
}

/// Resources by URN, over all components of a run.
pub(crate) type ByUrn = Arc<RwLock<HashMap<Urn, Arc<ResolvedResource>>>>;

/// Results of entries; each is set once, when the entry is done.
#[derive(Debug)]
pub(crate) struct Results {
    entries: Vec<OnceLock<Resolved>>,
    /// Entries finish at any time, so it is locked; never over an await.
    by_urn: ByUrn,
}

impl Results {
    pub(crate) fn new(count: usize, by_urn: &ByUrn) -> Self {
        Self {
            entries: (0..count).map(|_| OnceLock::new()).collect(),
            by_urn: Arc::clone(by_urn),
        }
    }

    /// Every resource of this scope and, for components, what is inside.
    pub(crate) fn members(&self) -> Vec<Urn> {
        let mut members = Vec::new();
        for resolved in self.entries.iter().filter_map(OnceLock::get) {
            if let Resolved::Resource(resource) = resolved {
                members.push(resource.urn.clone());
                members.extend(resource.members().iter().cloned());
            }
        }
        members
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Resolved> {
        self.entries.get(index)?.get()
    }

    pub(crate) fn set(&self, index: usize, resolved: Resolved) {
        if let Resolved::Resource(resource) = &resolved {
            let resource = Arc::clone(resource);
            self.by_urn.write().insert(resource.urn.clone(), resource);
        }
        if let Some(slot) = self.entries.get(index) {
            // An entry is evaluated once; a second value would be a fault of the driver.
            let first = slot.set(resolved).is_ok();
            debug_assert!(first, "entry {index} was evaluated twice");
        }
    }

    fn find(&self, urn: &Urn) -> Option<Arc<ResolvedResource>> {
        self.by_urn.read().get(urn).cloned()
    }
}

/// Why an expression has no value: a mistake with its place.
pub(crate) type Failure = Box<Diagnostic>;

/// Evaluates the expressions of one entry.
pub(crate) struct Evaluator<'e> {
    pub(crate) checked: &'e Checked,
    pub(crate) results: &'e Results,
    pub(crate) file: &'e Arc<SourceFile>,
    pub(crate) preview: bool,
    /// Results of calls with effects, by slot.
    pub(crate) slots: &'e HashMap<u32, Tracked>,
    /// Where values came from, since the last [`Evaluator::tracked`].
    pub(crate) sources: Vec<Urn>,
    /// Bytes copied by references so far.
    pub(crate) copied_bytes: usize,
    /// Things nobody means but that are kept as the original does them.
    pub(crate) warnings: Vec<Diagnostic>,
}

impl<'e> Evaluator<'e> {
    /// An expression with the resources it came from.
    pub(crate) fn tracked(&mut self, expression: &Expression) -> Result<Tracked, Failure> {
        self.sources.clear();
        let value = self.value(expression)?;
        let mut sources = std::mem::take(&mut self.sources);
        sources.sort();
        sources.dedup();
        Ok(Tracked { value, sources })
    }

    pub(crate) fn fail(&self, span: Span, message: impl Into<String>) -> Failure {
        Box::new(Diagnostic::error(EVALUATION, message).at(self.file, span, ""))
    }

    fn wrong(&self, span: Span, subject: &str, expected: &str, found: &Value) -> Failure {
        let message = format!("{subject} must be {expected}, found {}", found.kind_name());
        Box::new(Diagnostic::error(WRONG_KIND, message).at(self.file, span, ""))
    }

    pub(crate) fn value(&mut self, expression: &Expression) -> Result<Value, Failure> {
        Ok(match &expression.kind {
            Kind::Null | Kind::Refused => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(*value),
            Kind::Text(text) => Value::String(text.to_string()),
            Kind::Mixed(parts) => self.mixed(parts)?,
            Kind::Reference(reference) => self.reference(reference)?,
            Kind::List(items) => Value::List(
                items
                    .iter()
                    .map(|item| self.value(item))
                    .collect::<Result<_, _>>()?,
            ),
            Kind::Map(entries) => self.map(entries)?,
            Kind::Call(call) => self.call(call)?,
        })
    }

    fn map(&mut self, entries: &[(Expression, Expression)]) -> Result<Value, Failure> {
        let mut map = PropertyMap::new();
        for (key, value) in entries {
            let name = self.value(key)?;
            match name.unsecret() {
                // Which key it is cannot be foretold, so neither can the map.
                Value::Unknown => return Ok(Value::Unknown),
                Value::String(text) => {
                    let value = self.value(value)?;
                    if map.insert(text.clone(), value).is_some() {
                        return Err(self.fail(key.span, format!("key `{text}` is set twice")));
                    }
                }
                other => return Err(self.wrong(key.span, "a key", "a string", other)),
            }
        }
        Ok(Value::Map(map))
    }

    fn call(&mut self, call: &Call) -> Result<Value, Failure> {
        match &call.function {
            Function::Builtin(builtin) if !builtin.has_effect() => self.builtin(*builtin, call),
            _ => match self.slots.get(&call.slot) {
                Some(result) => {
                    self.sources.extend_from_slice(&result.sources);
                    Ok(result.value.clone())
                }
                None => Err(self.fail(
                    call.span,
                    "the function was not called before its result was used",
                )),
            },
        }
    }

    fn mixed(&mut self, parts: &[Part]) -> Result<Value, Failure> {
        let mut out = String::new();
        let (mut secret, mut unknown) = (false, false);
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Reference(reference) => {
                    let value = self.reference(reference)?;
                    secret |= value.contains_secret();
                    unknown |= value.contains_unknown();
                    if self.is_whole(reference)
                        && let Some(number) = value.as_f64()
                    {
                        out.push_str(&format!("{number:.0}"));
                    } else {
                        self.push_text(&mut out, reference, &value)?;
                    }
                }
            }
        }
        let value = if unknown {
            Value::Unknown
        } else {
            Value::String(out)
        };
        Ok(if secret { value.into_secret() } else { value })
    }

    /// A config value declared as whole number prints all its digits.
    fn is_whole(&self, reference: &Reference) -> bool {
        let index = self.checked.names.get(&reference.root);
        reference.steps.is_empty()
            && index.is_some_and(|index| match &self.checked.program.entries[*index].kind {
                EntryKind::Config(config) | EntryKind::Input(config) => {
                    config.kind == Some(ConfigType::Integer)
                }
                _ => false,
            })
    }

    fn push_text(
        &mut self,
        out: &mut String,
        reference: &Reference,
        value: &Value,
    ) -> Result<(), Failure> {
        let plain = value.without_secrets();
        match &plain {
            Value::Null | Value::List(_) | Value::Map(_) => {
                let message = format!(
                    "`{}` in a text is {}",
                    self.raw(reference.span),
                    plain.kind_name()
                );
                let hint = "use `fn::toJSON`, or refer to one value inside it";
                self.warnings.push(
                    Diagnostic::warning(WRONG_KIND, message)
                        .at(self.file, reference.span, "")
                        .hint(hint),
                );
            }
            Value::Asset(_) | Value::Archive(_) | Value::Reference(_) => {
                return Err(self.wrong(
                    reference.span,
                    "a reference in a text",
                    "a string",
                    &plain,
                ));
            }
            _ => {}
        }
        text::push(out, &plain);
        Ok(())
    }

    fn raw(&self, span: Span) -> &str {
        self.file
            .text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    fn reference(&mut self, reference: &Reference) -> Result<Value, Failure> {
        let value = self.referred(reference)?;
        self.copied_bytes = self.copied_bytes.saturating_add(size(&value));
        if self.copied_bytes > VALUE_BYTES_MAX {
            let message = format!("the value is larger than {VALUE_BYTES_MAX} bytes");
            return Err(self.fail(reference.span, message));
        }
        Ok(value)
    }

    fn referred(&mut self, reference: &Reference) -> Result<Value, Failure> {
        let Some(index) = self.checked.names.get(&reference.root).copied() else {
            return self.outside(reference);
        };
        let results: &'e Results = self.results;
        match results.get(index) {
            Some(Resolved::Value(tracked)) => {
                self.sources.extend_from_slice(&tracked.sources);
                self.steps(&tracked.value, &reference.steps)
            }
            Some(Resolved::Resource(resource)) => self.resource_value(resource, reference),
            None => Err(self.fail(
                reference.span,
                format!("`{}` has no value yet", reference.root),
            )),
        }
    }

    /// `pulumi.*` and stack config that the program does not declare.
    fn outside(&mut self, reference: &Reference) -> Result<Value, Failure> {
        let context = &self.checked.context;
        if let Some(key) = self.checked.config_key(&reference.root) {
            return self.steps(&context.config[key], &reference.steps);
        }
        let field = match reference.steps.first() {
            Some((Step::Name(name) | Step::Key(name), _)) => name.as_str(),
            _ => "",
        };
        let text = match field {
            "cwd" => &context.cwd,
            "project" => &context.project,
            "stack" => &context.stack,
            "organization" => &context.organization,
            "rootDirectory" => &context.root,
            _ => {
                let message = format!("nothing is named `{}`", reference.root);
                return Err(self.fail(reference.root_span, message));
            }
        };
        self.steps(&Value::from(text.as_str()), &reference.steps[1..])
    }

    fn resource_value(
        &mut self,
        resource: &ResolvedResource,
        reference: &Reference,
    ) -> Result<Value, Failure> {
        self.sources.push(resource.urn.clone());
        let Some(((first, _), rest)) = reference.steps.split_first() else {
            // Who takes a whole component waits for everything in it.
            self.sources.extend_from_slice(resource.members());
            return Ok(resource.as_value());
        };
        if let (Some(inside), Step::Name(name) | Step::Key(name)) = (&resource.inside, first) {
            let sources = inside.sources.get(name);
            self.sources.extend(sources.into_iter().flatten().cloned());
        }
        self.steps(&self.output(resource, first), rest)
    }

    /// The first step on a resource.
    fn output(&self, resource: &ResolvedResource, step: &Step) -> Value {
        let registered = &resource.registered;
        match step {
            Step::Name(name) if name == "urn" => Value::from(resource.urn.as_str()),
            Step::Name(name) if name == "id" => {
                if registered.id_unknown {
                    Value::Unknown
                } else {
                    Value::from(registered.id.as_str())
                }
            }
            Step::Name(name) | Step::Key(name) => match registered.outputs.get(name) {
                Some(value) => value.clone(),
                None if self.preview && resource.may_have(name) => Value::Unknown,
                None => Value::Null,
            },
            Step::Index(_) => Value::Null,
        }
    }

    /// Walks down from a value; only what is found is copied.
    fn steps(&self, start: &Value, steps: &[(Step, Span)]) -> Result<Value, Failure> {
        let mut value = start;
        let mut secret = false;
        for (position, (step, span)) in steps.iter().enumerate() {
            secret |= matches!(value, Value::Secret(_));
            value = match (value.unsecret(), step) {
                (Value::Unknown, _) => &Value::Unknown,
                (Value::Map(map), Step::Name(name) | Step::Key(name)) => {
                    map.get(name).unwrap_or(&Value::Null)
                }
                (Value::List(items), Step::Index(index)) => match items.get(*index) {
                    Some(item) => item,
                    None => {
                        let message =
                            format!("index {index} is outside the list of {}", items.len());
                        return Err(self.fail(*span, message));
                    }
                },
                (Value::Reference(reference), Step::Name(_) | Step::Key(_)) => {
                    let Some(resource) = self.find_resource(&reference.urn) else {
                        return Err(self.fail(*span, "the resource is not part of this program"));
                    };
                    let output = self.output(&resource, step);
                    let found = self.steps(&output, &steps[position + 1..])?;
                    return Ok(if secret { found.into_secret() } else { found });
                }
                (found, Step::Index(_)) => {
                    return Err(self.wrong(*span, "a value before an index", "a list", found));
                }
                (found, _) => {
                    return Err(self.wrong(*span, "a value before a name", "a map", found));
                }
            };
        }
        let found = value.clone();
        Ok(if secret { found.into_secret() } else { found })
    }

    pub(crate) fn find_resource(&self, urn: &Urn) -> Option<Arc<ResolvedResource>> {
        self.results.find(urn)
    }

    /// The value of a declared config entry: the stack's, else the declared one, else the default.
    pub(crate) fn config(
        &mut self,
        entry: &Entry,
        config: &ConfigEntry,
    ) -> Result<Tracked, Failure> {
        let name = config.key.as_deref().unwrap_or(&entry.name);
        let stored = self
            .checked
            .config_key(name)
            .and_then(|key| self.checked.context.config.get(key));
        let mut tracked = match (stored, config.value.as_ref().or(config.default.as_ref())) {
            (Some(value), _) => Tracked {
                value: value.clone(),
                sources: Vec::new(),
            },
            (None, Some(expression)) => self.tracked(expression)?,
            (None, None) => Tracked::default(),
        };
        let subject = format!("config `{name}`");
        self.typed(&mut tracked.value, config, &subject, entry.span)?;
        if matches!(config.secret, Some((true, _))) {
            tracked.value = tracked.value.into_secret();
        }
        Ok(tracked)
    }

    /// The value of an input of a component: what its user gave, which has the declared type
    /// already, else the default. A missing optional input is null.
    pub(crate) fn input(
        &mut self,
        entry: &Entry,
        input: &ConfigEntry,
        given: Option<&Tracked>,
    ) -> Result<Tracked, Failure> {
        let mut tracked = match (given, &input.default) {
            (Some(given), _) => given.clone(),
            (None, Some(default)) => {
                let mut tracked = self.tracked(default)?;
                let subject = format!("the default of input `{}`", entry.name);
                self.typed(&mut tracked.value, input, &subject, default.span)?;
                tracked
            }
            (None, None) => Tracked::default(),
        };
        if matches!(input.secret, Some((true, _))) && tracked.value != Value::Null {
            tracked.value = tracked.value.into_secret();
        }
        Ok(tracked)
    }

    /// Turns a value into its declared type, once it is known.
    pub(crate) fn typed(
        &self,
        value: &mut Value,
        declared: &ConfigEntry,
        subject: &str,
        span: Span,
    ) -> Result<(), Failure> {
        if let Some(kind) = &declared.kind
            && !value.contains_unknown()
        {
            *value = coerce(value, kind).map_err(|expected| {
                let message = format!("{subject} must be {expected}");
                Box::new(Diagnostic::error(CONFIG_VALUE, message).at(self.file, span, ""))
            })?;
        }
        Ok(())
    }

    /// Properties by name, each with the resources it came from.
    pub(crate) fn properties<'p>(
        &mut self,
        entries: impl Iterator<Item = (&'p str, &'p Expression)>,
    ) -> Result<BTreeMap<String, Tracked>, Failure> {
        entries
            .map(|(name, expression)| Ok((name.to_owned(), self.tracked(expression)?)))
            .collect()
    }
}

impl ResolvedResource {
    /// The resource handed to another one.
    pub(crate) fn as_value(&self) -> Value {
        let registered = &self.registered;
        Value::Reference(ResourceReference {
            urn: self.urn.clone(),
            id: Some(if registered.id_unknown {
                String::new()
            } else {
                registered.id.clone()
            }),
            package_version: self.version.clone(),
        })
    }

    /// `<urn>::<id>`, as a provider is named in options.
    pub(crate) fn as_provider(&self) -> String {
        let id = if self.registered.id_unknown || self.registered.id.is_empty() {
            UNKNOWN_TEXT
        } else {
            &self.registered.id
        };
        format!("{}::{id}", self.urn)
    }

    /// The resources in a component.
    pub(crate) fn members(&self) -> &[Urn] {
        self.inside
            .as_ref()
            .map_or(&[], |inside| inside.members.as_slice())
    }

    fn may_have(&self, output: &str) -> bool {
        self.kind
            .schema()
            .is_none_or(|schema| schema.outputs.contains_key(output))
    }
}
