//! From a registration to a goal: URN, old entry, inherited options (engine guide, 6, 10, 11.1).

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_diag::{Diagnostic, Severity, codes};
use lockgate_model::resource::CustomTimeouts;
use lockgate_model::urn::STACK_TYPE;
use lockgate_model::{PropertyMap, ResourceState, Urn, Value};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Fate, Live, RunState};
use crate::identity::Identity;
use crate::registry::{is_default_name, is_provider_type};
use crate::source::{MonitorError, Registration, ResourceOptions};

/// Key of the format under which the replacement trigger of a resource is kept.
const TRIGGER_KEY: &str = "replacementTrigger";

/// What one resource should become.
pub(crate) struct Goal {
    pub urn: Urn,
    pub custom: bool,
    pub inputs: PropertyMap,
    pub property_dependencies: BTreeMap<String, Vec<Urn>>,
    /// Options, with what is inherited filled in.
    pub options: ResourceOptions,
    /// Its provider reference; filled in after the claim.
    pub provider: String,
    /// Providers by package: the parent's and its own.
    pub providers: BTreeMap<String, String>,
    /// Index of the old entry that it continues.
    pub old: Option<usize>,
    /// The URN of that entry, if it is another one.
    pub was: Option<Urn>,
    /// Whether this run may change it.
    pub targeted: bool,
}

enum Claim {
    Goal(Box<Goal>),
    /// A cascade works on the old entry.
    Wait(CancellationToken),
}

impl Goal {
    /// The entry it should have, without id and outputs.
    pub(crate) fn state(&self, inputs: PropertyMap) -> ResourceState {
        let options = &self.options;
        let mut property_dependencies = self.property_dependencies.clone();
        if property_dependencies.is_empty() && !options.depends_on.is_empty() {
            property_dependencies = inputs
                .keys()
                .map(|name| (name.clone(), options.depends_on.clone()))
                .collect();
        }
        property_dependencies.retain(|_, urns| !urns.is_empty());
        let mut extra = BTreeMap::new();
        if let Some(trigger) = trigger_text(options.replacement_trigger.as_ref()) {
            extra.insert(TRIGGER_KEY.to_owned(), trigger);
        }
        ResourceState {
            urn: Some(self.urn.clone()),
            custom: self.custom,
            parent: options.parent.clone(),
            provider: self.provider.clone(),
            inputs,
            dependencies: options.depends_on.clone(),
            property_dependencies,
            deleted_with: options.deleted_with.clone(),
            replace_with: options.replace_with.clone(),
            additional_secret_outputs: options.additional_secret_outputs.clone(),
            protect: options.protect.unwrap_or(false),
            retain_on_delete: options.retain_on_delete.unwrap_or(false),
            import_id: options.import_id.clone().unwrap_or_default(),
            ignore_changes: options.ignore_changes.clone(),
            replace_on_changes: options.replace_on_changes.clone(),
            custom_timeouts: options.custom_timeouts,
            source_position: options.source_position.clone().unwrap_or_default(),
            extra,
            ..ResourceState::default()
        }
    }

    /// The entry it should have, continuing `old`.
    pub(crate) fn state_after(&self, old: &ResourceState, inputs: PropertyMap) -> ResourceState {
        let mut state = self.state(inputs);
        state.id.clone_from(&old.id);
        state.outputs = old.outputs.clone();
        state.created = old.created;
        state.modified = old.modified;
        let trigger = state.extra.remove(TRIGGER_KEY);
        state.extra = old.extra.clone();
        state.extra.remove(TRIGGER_KEY);
        state
            .extra
            .extend(trigger.map(|trigger| (TRIGGER_KEY.to_owned(), trigger)));
        state
    }

    /// Whether the replacement trigger differs from the one of `old`. Null or missing on either
    /// side means no trigger; an unknown one counts as changed.
    pub(crate) fn trigger_changed(&self, old: &ResourceState) -> bool {
        let Some(trigger) = &self.options.replacement_trigger else {
            return false;
        };
        if trigger.contains_unknown() {
            return true;
        }
        match (trigger_text(Some(trigger)), old.extra.get(TRIGGER_KEY)) {
            (Some(new), Some(old)) => new != *old,
            _ => false,
        }
    }
}

/// A trigger as the JSON text that the state keeps. A secret one is kept as a digest only.
fn trigger_text(trigger: Option<&Value>) -> Option<String> {
    let trigger = trigger.filter(|value| !matches!(value.unsecret(), Value::Null))?;
    let mut text = String::new();
    push_json(&mut text, &trigger.without_secrets());
    if trigger.contains_secret() {
        text = format!("\"{}\"", lockgate_model::Digest::of(text.as_bytes()));
    }
    Some(text)
}

fn push_json(text: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Unknown => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) if number.is_finite() => text.push_str(&number.to_string()),
        Value::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_json(text, item);
            }
            text.push(']');
        }
        Value::Map(map) => {
            text.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_json_string(text, key);
                text.push(':');
                push_json(text, item);
            }
            text.push('}');
        }
        other => push_json_string(text, &other.to_string()),
    }
}

fn push_json_string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

impl Engine {
    /// Claims the URN and the old entry of a registration.
    pub(crate) async fn claim(&self, registration: Registration) -> Result<Goal, MonitorError> {
        let mut registration = registration;
        if registration.type_token != STACK_TYPE && registration.options.parent.is_none() {
            let root = self.stack_urn();
            let is_registered = self.state.lock().live.contains_key(&root);
            // Default providers belong to no one, so that they outlive everything else.
            let is_default = is_default_name(&registration.type_token, &registration.name);
            registration.options.parent = (is_registered && !is_default).then_some(root);
        }
        loop {
            self.go()?;
            match self.try_claim(&registration) {
                Ok(Claim::Goal(goal)) => {
                    self.warn_of_idle_options(&goal);
                    return Ok(*goal);
                }
                Ok(Claim::Wait(cascade)) => cascade.cancelled().await,
                Err(diagnostic) if diagnostic.is_error() => {
                    return Err(self.report(registration.options.place(*diagnostic, "")));
                }
                Err(diagnostic) => return Err(self.report(*diagnostic)),
            }
        }
    }

    /// Some options mean something to a provider only; on a component they do nothing.
    fn warn_of_idle_options(&self, goal: &Goal) {
        if goal.custom {
            return;
        }
        let options = &goal.options;
        let timeouts = options.custom_timeouts != CustomTimeouts::default();
        for (is_set, name) in [
            (!options.ignore_changes.is_empty(), "ignoreChanges"),
            (!options.replace_on_changes.is_empty(), "replaceOnChanges"),
            (
                !options.additional_secret_outputs.is_empty(),
                "additionalSecretOutputs",
            ),
            (!options.replace_with.is_empty(), "replaceWith"),
            (timeouts, "customTimeouts"),
        ] {
            if is_set {
                let text = format!("`{name}` has no effect on the component `{}`", goal.urn);
                self.say(Severity::Warning, Some(&goal.urn), text);
            }
        }
    }

    fn try_claim(&self, registration: &Registration) -> Result<Claim, Box<Diagnostic>> {
        let mut state = self.state.lock();
        let parent = self.find_parent(&state, registration)?;
        let identity = Identity {
            stack: &self.stack,
            project: &self.project,
            type_token: &registration.type_token,
            name: &registration.name,
            parent: registration.options.parent.as_ref(),
            parent_was: parent.as_ref().and_then(|parent| parent.was.as_ref()),
        };
        let urn = identity.urn();
        check_form(registration, &urn)?;
        if state.claimed.contains(&urn) {
            return Err(Box::new(
                Diagnostic::error(
                    codes::program::DUPLICATE_URN,
                    format!("`{urn}` was registered already"),
                )
                .hint("give one of the two another name"),
            ));
        }
        let options = inherit(&state, registration, parent.as_ref(), &urn)?;
        let old = find_old(&state, &identity, &urn, registration)?;
        if let Some(cascade) = old.and_then(|index| state.olds[index].busy.clone()) {
            return Ok(Claim::Wait(cascade));
        }
        let mut was = None;
        if let Some(index) = old {
            let entry = &mut state.olds[index];
            entry.claimed_by = Some(urn.clone());
            was = entry.state.urn.clone().filter(|was| *was != urn);
        }
        if let Some(was) = &was {
            state.renames.insert(was.clone(), urn.clone());
        }
        state.claimed.insert(urn.clone());
        let mut providers = parent.map(|parent| parent.providers).unwrap_or_default();
        providers.extend(options.providers.clone());
        if let Some(reference) = &options.provider
            && let Some((provider, _)) = crate::integrity::split_provider_reference(reference)
        {
            providers.insert(provider.package().to_owned(), reference.clone());
        }
        Ok(Claim::Goal(Box::new(Goal {
            targeted: self.is_chosen(&mut state, registration, &urn),
            urn,
            custom: registration.custom,
            inputs: registration.inputs.clone(),
            property_dependencies: registration.property_dependencies.clone(),
            options,
            provider: String::new(),
            providers,
            old,
            was,
        })))
    }

    fn find_parent(
        &self,
        state: &RunState,
        registration: &Registration,
    ) -> Result<Option<Live>, Box<Diagnostic>> {
        let Some(parent) = &registration.options.parent else {
            return Ok(None);
        };
        state.live.get(parent).cloned().map(Some).ok_or_else(|| {
            Box::new(Diagnostic::error(
                codes::program::UNKNOWN_PARENT,
                format!(
                    "resource `{}` has the parent `{parent}`, which was not registered in this run",
                    registration.name
                ),
            ))
        })
    }

    /// Whether this run may change a resource. Providers and the root are never left out.
    fn is_chosen(&self, run: &mut RunState, registration: &Registration, urn: &Urn) -> bool {
        let scope = &self.scope;
        if scope.is_whole() || is_provider_type(urn.type_token()) || urn.type_token() == STACK_TYPE
        {
            return true;
        }
        let options = &registration.options;
        let needs = || {
            let sources = registration.property_dependencies.values().flatten();
            let others = options.parent.iter().chain(&options.deleted_with);
            options.depends_on.iter().chain(others).chain(sources)
        };
        let hit = scope.targets.is_empty()
            || scope.targets.matches(urn)
            || self.options.target_dependents && needs().any(|to| run.reached.contains(to));
        let out = scope.excludes.matches(urn)
            || self.options.exclude_dependents && needs().any(|to| run.left_out.contains(to));
        if hit && self.options.target_dependents {
            run.reached.insert(urn.clone());
        }
        if out && self.options.exclude_dependents {
            run.left_out.insert(urn.clone());
        }
        hit && !out
    }
}

fn check_form(registration: &Registration, urn: &Urn) -> Result<(), Box<Diagnostic>> {
    let parts = registration.type_token.split(':').count();
    let whole = parts == 3 && !registration.type_token.split(':').any(str::is_empty);
    if registration.custom && !whole {
        return Err(Box::new(Diagnostic::error(
            codes::program::BAD_OPTION,
            format!(
                "type `{}` of resource `{}` is not of the form package:module:name",
                registration.type_token, registration.name
            ),
        )));
    }
    let options = &registration.options;
    for path in options
        .ignore_changes
        .iter()
        .chain(&options.replace_on_changes)
    {
        if let Err(error) = crate::path::PropertyPath::parse(path) {
            return Err(Box::new(
                Diagnostic::error(
                    codes::program::BAD_OPTION,
                    format!("an option of `{urn}` holds a malformed path"),
                )
                .caused_by(&error),
            ));
        }
    }
    Ok(())
}

/// Fills in what a resource takes from its parent, and checks that what it refers to exists.
fn inherit(
    state: &RunState,
    registration: &Registration,
    parent: Option<&Live>,
    urn: &Urn,
) -> Result<ResourceOptions, Box<Diagnostic>> {
    let mut options = registration.options.clone();
    if let Some(parent) = parent {
        options.protect = options.protect.or(Some(parent.state.protect));
        options.retain_on_delete = options
            .retain_on_delete
            .or(Some(parent.state.retain_on_delete));
        if options.deleted_with.is_none() {
            options.deleted_with.clone_from(&parent.state.deleted_with);
        }
    }
    options.depends_on.sort();
    options.depends_on.dedup();
    let referred = options
        .depends_on
        .iter()
        .chain(&options.deleted_with)
        .chain(registration.property_dependencies.values().flatten());
    for target in referred {
        if state.claimed.contains(target) && !state.live.contains_key(target) {
            // It was told already why; that this one waits for it is no failure of its own.
            return Err(Box::new(Diagnostic::warning(
                codes::program::STEP_FAILED,
                format!("`{urn}` was left out: it needs `{target}`, which failed"),
            )));
        }
        if !state.live.contains_key(target) {
            return Err(Box::new(Diagnostic::error(
                codes::program::UNKNOWN_PARENT,
                format!("`{urn}` depends on `{target}`, which was not registered in this run"),
            )));
        }
    }
    Ok(options)
}

/// The old entry that a registration continues: under its own URN, else under an earlier one.
fn find_old(
    state: &RunState,
    identity: &Identity<'_>,
    urn: &Urn,
    registration: &Registration,
) -> Result<Option<usize>, Box<Diagnostic>> {
    let conflict = |other: &Urn| {
        Box::new(Diagnostic::error(
            codes::program::ALIAS_CONFLICT,
            format!("`{urn}` and `{other}` both continue one entry of the state"),
        ))
    };
    let aliases = &registration.options.aliases;
    let earlier = if aliases.is_empty() && identity.parent_was.is_none() {
        Vec::new()
    } else {
        identity.earlier(aliases)
    };
    for candidate in std::iter::once(urn).chain(&earlier) {
        let Some(index) = state.by_urn.get(candidate) else {
            continue;
        };
        let entry = &state.olds[*index];
        match &entry.claimed_by {
            Some(other) => return Err(conflict(other)),
            None if entry.fate == Fate::Waiting => return Ok(Some(*index)),
            // Gone since: read back as missing, or deleted.
            None => {}
        }
    }
    Ok(None)
}

/// A registered resource as the rest of the run sees it.
pub(crate) fn live_of(goal: &Goal, state: Arc<ResourceState>) -> Live {
    Live {
        entry: None,
        state,
        providers: goal.providers.clone(),
        was: goal.was.clone(),
        replaced: false,
        pending: false,
        targeted: goal.targeted,
        skipped: false,
    }
}
