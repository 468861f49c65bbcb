//! Resources: evaluated properties and options to a registration or a read.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_engine::source::{ReadResource, Registered, Registration, ResourceOptions};
use lockgate_model::schema::PropertyKind;
use lockgate_model::{PropertyMap, Urn, Value};

use super::effects::distinct;
use super::{Ended, Run};
use crate::check::{ResourceType, STACK_REFERENCE};
use crate::evaluate::{Evaluator, Resolved, ResolvedResource, Tracked};
use crate::program::{Get, Properties, Resource};

/// What is asked of the engine.
pub(super) enum Planned {
    Register(Box<Registration>),
    Read(Box<ReadResource>),
    /// A read whose id is not known yet.
    Later(Urn),
    /// A component of the program, by its place, with where its inputs came from.
    Component(usize, Box<Registration>),
}

impl Run<'_> {
    /// Evaluates a resource; nothing is registered yet.
    pub(super) fn plan(
        &self,
        index: usize,
        resource: &Resource,
        evaluator: &mut Evaluator<'_>,
    ) -> Result<Planned, Ended> {
        let entry = &self.checked.program.entries[index];
        let Some(kind) = &self.checked.types[index] else {
            return Err(evaluator
                .fail(entry.span, "the type was not resolved")
                .into());
        };
        let mut options = evaluator.options(&resource.options)?;
        self.add_default_providers(kind, resource, &mut options);
        let file = self.file(entry.file);
        let lines = &self.shared.lines[entry.file];
        options.source_position = Some(lines.position(file, entry.span));
        options.places = Some(self.declared(index));
        let mut name = resource
            .logical_name
            .as_deref()
            .unwrap_or(&entry.name)
            .to_owned();
        if let Some(instance) = &self.instance {
            name = format!("{}-{name}", instance.name);
            options.parent.get_or_insert_with(|| instance.urn.clone());
        }
        if let Some(get) = &resource.get {
            return self.plan_read(get, kind, name, options, evaluator);
        }
        let mut properties = self.properties(resource, evaluator)?;
        if let Some(component) = kind.component {
            self.check_inputs(component, entry, &mut properties, evaluator)?;
        }
        let (mut inputs, property_dependencies) = split(properties, &mut options.depends_on);
        options.depends_on = distinct(options.depends_on);
        if kind.token == STACK_REFERENCE {
            let id = match inputs.get("name").map(Value::unsecret) {
                Some(Value::Unknown) => {
                    return Ok(Planned::Later(self.urn(&options.parent, kind, &name)));
                }
                Some(Value::String(stack)) => stack.clone(),
                _ => name.clone(),
            };
            inputs.insert("name".to_owned(), Value::from(id.as_str()));
            return Ok(Planned::Read(Box::new(ReadResource {
                type_token: kind.token.clone(),
                name,
                id,
                inputs,
                options,
            })));
        }
        apply_schema(kind, &mut inputs);
        let registration = Box::new(Registration {
            type_token: kind.token.clone(),
            name,
            custom: kind.component.is_none(),
            inputs,
            property_dependencies,
            options,
        });
        Ok(match kind.component {
            Some(component) => Planned::Component(component, registration),
            None => Planned::Register(registration),
        })
    }

    /// `get`: a read, once its id is known.
    fn plan_read(
        &self,
        get: &Get,
        kind: &ResourceType,
        name: String,
        mut options: ResourceOptions,
        evaluator: &mut Evaluator<'_>,
    ) -> Result<Planned, Ended> {
        let id = evaluator.tracked(&get.id)?;
        let state = get.state.iter().map(|(name, value)| (name.as_str(), value));
        let state = evaluator.properties(state)?;
        options.depends_on.extend(id.sources);
        let inputs = split(state, &mut options.depends_on).0;
        options.depends_on = distinct(options.depends_on);
        match id.value.unsecret() {
            Value::Unknown => Ok(Planned::Later(self.urn(&options.parent, kind, &name))),
            Value::String(text) => Ok(Planned::Read(Box::new(ReadResource {
                type_token: kind.token.clone(),
                name,
                id: text.clone(),
                inputs,
                options,
            }))),
            found => {
                let message = format!("`get.id` must be a string, found {}", found.kind_name());
                Err(evaluator.fail(get.id.span, message).into())
            }
        }
    }

    fn properties(
        &self,
        resource: &Resource,
        evaluator: &mut Evaluator<'_>,
    ) -> Result<BTreeMap<String, Tracked>, Ended> {
        match &resource.properties {
            Properties::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(name, _, value)| (name.as_str(), value));
                Ok(evaluator.properties(entries)?)
            }
            Properties::Whole(expression) => {
                let Tracked { value, sources } = evaluator.tracked(expression)?;
                let secret = matches!(value, Value::Secret(_));
                let Some(map) = value.as_map() else {
                    let message =
                        format!("`properties` must be a map, found {}", value.kind_name());
                    return Err(evaluator.fail(expression.span, message).into());
                };
                let property = |value: &Value| Tracked {
                    value: if secret {
                        value.clone().into_secret()
                    } else {
                        value.clone()
                    },
                    sources: sources.clone(),
                };
                Ok(map
                    .iter()
                    .map(|(name, value)| (name.clone(), property(value)))
                    .collect())
            }
        }
    }

    /// Providers of the program in place of the packages' own; a component hands them on to what
    /// is inside.
    fn add_default_providers(
        &self,
        kind: &ResourceType,
        resource: &Resource,
        options: &mut ResourceOptions,
    ) {
        for (package, index) in self.checked.default_providers_of(kind, resource) {
            let Some(Resolved::Resource(provider)) = self.results.get(index) else {
                continue;
            };
            if kind.component.is_none() {
                options
                    .provider
                    .get_or_insert_with(|| provider.as_provider());
            } else {
                options
                    .providers
                    .entry(package.to_owned())
                    .or_insert_with(|| provider.as_provider());
            }
        }
    }

    fn urn(&self, parent: &Option<Urn>, kind: &ResourceType, name: &str) -> Urn {
        let context = &self.checked.context;
        Urn::new(
            &context.stack,
            &context.project,
            parent.as_ref(),
            &kind.token,
            name,
        )
    }

    /// Registers or reads, and waits for it.
    pub(super) async fn register(&self, index: usize, planned: Planned) -> Result<Resolved, Ended> {
        let (version, registered, urn) = match planned {
            Planned::Component(component, registration) => {
                return self.component(index, component, *registration).await;
            }
            Planned::Register(registration) => {
                let version = registration.options.version.clone();
                let urn = self.planned_urn(index, &registration.options.parent, &registration.name);
                (
                    version,
                    self.shared.monitor.register(*registration).await?,
                    urn,
                )
            }
            Planned::Read(read) => {
                let version = read.options.version.clone();
                let urn = self.planned_urn(index, &read.options.parent, &read.name);
                (version, self.shared.monitor.read(*read).await?, urn)
            }
            Planned::Later(urn) => {
                let registered = Registered {
                    id_unknown: true,
                    ..Registered::default()
                };
                (None, registered, Some(urn))
            }
        };
        let kind = self.checked.types[index].clone();
        let urn = registered.urn.clone().or(urn);
        match urn.zip(kind) {
            Some((urn, kind)) => Ok(Resolved::Resource(Arc::new(ResolvedResource {
                urn,
                registered,
                kind,
                version,
                inside: None,
            }))),
            None => Err(Ended::Reported),
        }
    }

    pub(super) fn planned_urn(
        &self,
        index: usize,
        parent: &Option<Urn>,
        name: &str,
    ) -> Option<Urn> {
        let kind: &Arc<ResourceType> = self.checked.types[index].as_ref()?;
        Some(self.urn(parent, kind, name))
    }
}

/// Values apart from where they came from. Null is "not given".
fn split(
    properties: BTreeMap<String, Tracked>,
    all: &mut Vec<Urn>,
) -> (PropertyMap, BTreeMap<String, Vec<Urn>>) {
    let mut values = PropertyMap::new();
    let mut sources = BTreeMap::new();
    for (name, tracked) in properties {
        if tracked.value == Value::Null {
            continue;
        }
        all.extend(tracked.sources.iter().cloned());
        sources.insert(name.clone(), tracked.sources);
        values.insert(name, tracked.value);
    }
    // An empty map would mean that every property depends on everything.
    (values, sources)
}

/// Fills in constants and marks what the schema calls secret.
fn apply_schema(kind: &ResourceType, inputs: &mut PropertyMap) {
    let Some(schema) = kind.schema() else { return };
    for (name, property) in &schema.inputs {
        if let Some(constant) = &property.constant {
            inputs
                .entry(name.clone())
                .or_insert_with(|| constant.clone());
        }
        if let Some(value) = inputs.get_mut(name) {
            numbers_to_text(value, &property.kind);
            if property.secret {
                *value = std::mem::take(value).into_secret();
            }
        }
    }
}

/// Numbers and booleans where the schema wants text become text, all digits kept: `PORT: ${port}`
/// means what it says.
fn numbers_to_text(value: &mut Value, kind: &PropertyKind) {
    match (kind, value) {
        (kind, Value::Secret(inner)) => numbers_to_text(inner, kind),
        (PropertyKind::String { .. }, value @ (Value::Number(_) | Value::Bool(_))) => {
            *value = Value::String(value.to_string());
        }
        (PropertyKind::List(inner), Value::List(items)) => {
            for item in items {
                numbers_to_text(item, inner);
            }
        }
        (PropertyKind::Map(inner), Value::Map(map)) => {
            for item in map.values_mut() {
                numbers_to_text(item, inner);
            }
        }
        (PropertyKind::Object(schema), Value::Map(map)) => {
            for (name, item) in map.iter_mut() {
                if let Some(property) = schema.get(name) {
                    numbers_to_text(item, &property.kind);
                }
            }
        }
        _ => {}
    }
}
