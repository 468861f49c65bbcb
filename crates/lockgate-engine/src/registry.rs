//! Which provider serves a resource: explicit, inherited, or the default one of its package,
//! which is registered on first use and part of the state.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::{Diagnostic, codes};
use lockgate_model::{PropertyMap, ResourceState, Rng, Urn, Value};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::engine::Engine;
use crate::goal::Goal;
use crate::integrity::split_provider_reference;
use crate::provider::{
    CallContext, CheckFailure, CheckRequest, CheckResponse, CreateRequest, CreateResponse,
    DeleteRequest, DiffRequest, DiffResponse, Provider, ProviderError, ReadRequest, ReadResponse,
    UpdateRequest,
};
use crate::source::{MonitorError, Registration};

/// Type tokens of provider resources start with this.
const PROVIDER_TYPE: &str = "pulumi:providers:";
/// Stands for an id that is not known yet inside a provider reference `<urn>::<id>`, as the
/// programs' own SDKs write it (engine guide, section 8).
pub const UNKNOWN_ID: &str = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
/// Engine bookkeeping among a provider's inputs; never sent to it.
const INTERNAL: [&str; 2] = ["version", "__internal"];

/// Who serves a resource.
#[derive(Clone)]
pub(crate) enum ProviderHandle {
    /// A provider at work.
    Ready(Arc<dyn Provider>),
    /// Its config is not known yet: previews get empty answers without a call.
    Unconfigured,
}

type Slot = Arc<OnceCell<ProviderHandle>>;

/// Configured providers, by reference.
#[derive(Default)]
pub(crate) struct Registry {
    slots: Mutex<HashMap<String, Slot>>,
    /// References of default providers by package and version. Held while one is registered, so
    /// that it is registered once.
    defaults: tokio::sync::Mutex<HashMap<(String, Option<String>), String>>,
}

/// Whether a URN is that of a default provider.
pub(crate) fn is_default_provider(urn: &Urn) -> bool {
    is_default_name(urn.type_token(), urn.name())
}

/// Whether type and name are those of a default provider.
pub(crate) fn is_default_name(type_token: &str, name: &str) -> bool {
    is_provider_type(type_token) && (name == "default" || name.starts_with("default_"))
}

/// Whether a type token is that of a provider resource.
pub(crate) fn is_provider_type(type_token: &str) -> bool {
    type_token.starts_with(PROVIDER_TYPE)
}

/// The package that a provider reference serves.
fn package_of_reference(reference: &str) -> Option<String> {
    let (urn, _) = split_provider_reference(reference)?;
    Some(urn.package().to_owned())
}

impl Engine {
    /// The provider reference of a resource of `type_token` (engine guide, section 6). Empty for
    /// provider resources, which need none.
    pub(crate) async fn choose_provider(
        self: &Arc<Self>,
        type_token: &str,
        explicit: Option<&str>,
        inherited: &BTreeMap<String, String>,
        version: Option<&str>,
    ) -> Result<String, MonitorError> {
        if is_provider_type(type_token) {
            return Ok(String::new());
        }
        let package = lockgate_model::urn::package_of(type_token);
        let fitting = explicit.filter(|r| package_of_reference(r).as_deref() == Some(package));
        if let Some(reference) = fitting.or(inherited.get(package).map(String::as_str)) {
            return Ok(reference.to_owned());
        }
        self.default_provider(package, version).await
    }

    /// Takes a default provider of the old state for the one of its package.
    pub(crate) async fn know_default_provider(&self, urn: &Urn, state: &ResourceState) {
        let version = match urn.name() {
            "default" => None,
            _ => state.inputs.get("version").and_then(Value::as_str),
        };
        let key = (urn.package().to_owned(), version.map(str::to_owned));
        let reference = format!("{urn}::{}", state.id);
        self.registry.defaults.lock().await.insert(key, reference);
    }

    async fn default_provider(
        self: &Arc<Self>,
        package: &str,
        version: Option<&str>,
    ) -> Result<String, MonitorError> {
        let key = (package.to_owned(), version.map(str::to_owned));
        let mut defaults = self.registry.defaults.lock().await;
        if let Some(reference) = defaults.get(&key) {
            return Ok(reference.clone());
        }
        let mut inputs = self
            .options
            .package_config
            .get(package)
            .cloned()
            .unwrap_or_default();
        let mut name = "default".to_owned();
        if let Some(version) = version {
            name.push('_');
            name.push_str(&version.replace(['.', '-', '+'], "_"));
            inputs.insert("version".to_owned(), version.into());
        }
        let registration = Registration {
            type_token: format!("{PROVIDER_TYPE}{package}"),
            name,
            custom: true,
            inputs,
            ..Registration::default()
        };
        let registered = Box::pin(self.register_now(registration)).await?;
        let urn = registered.urn.ok_or(MonitorError::Stopped)?;
        let id = match registered.id.as_str() {
            "" => UNKNOWN_ID,
            id => id,
        };
        let reference = format!("{urn}::{id}");
        defaults.insert(key, reference.clone());
        Ok(reference)
    }

    /// The provider of a goal, configured on first use.
    pub(crate) async fn handle_of(&self, goal: &Goal) -> Result<ProviderHandle, MonitorError> {
        let found = self.find_handle(&goal.provider, Some(&goal.urn)).await;
        found.map_err(|diagnostic| self.report(goal.options.place(*diagnostic, "")))
    }

    /// The provider behind a reference, configured on first use. `about` is the resource that
    /// needs it, for the message.
    pub(crate) async fn handle(
        &self,
        reference: &str,
        about: Option<&Urn>,
    ) -> Result<ProviderHandle, MonitorError> {
        let found = self.find_handle(reference, about).await;
        found.map_err(|diagnostic| self.report(*diagnostic))
    }

    async fn find_handle(
        &self,
        reference: &str,
        about: Option<&Urn>,
    ) -> Result<ProviderHandle, Box<Diagnostic>> {
        if reference.is_empty() {
            return Ok(ProviderHandle::Ready(Arc::new(ProviderResources {
                rng: Arc::clone(&self.rng),
            })));
        }
        let slot = {
            let mut slots = self.registry.slots.lock();
            Arc::clone(slots.entry(reference.to_owned()).or_default())
        };
        slot.get_or_try_init(|| self.configure(reference, about))
            .await
            .cloned()
    }

    async fn configure(
        &self,
        reference: &str,
        about: Option<&Urn>,
    ) -> Result<ProviderHandle, Box<Diagnostic>> {
        let missing = |why: &str| {
            let subject = about.map_or_else(|| "a resource".to_owned(), |urn| format!("`{urn}`"));
            let parts = split_provider_reference(reference);
            let message = match parts.filter(|(urn, _)| is_default_provider(urn)) {
                Some((urn, _)) => format!("{subject} is of the package `{}`, {why}", urn.package()),
                None => format!("{subject} has the provider `{reference}`, {why}"),
            };
            Box::new(Diagnostic::error(codes::program::PROVIDER_MISSING, message))
        };
        let Some((urn, _)) = split_provider_reference(reference) else {
            return Err(missing("which is not of the form <urn>::<id>"));
        };
        let Some(inputs) = self.provider_inputs(&urn) else {
            return Err(missing("which is not in this stack"));
        };
        if inputs.values().any(Value::contains_unknown) {
            return Ok(ProviderHandle::Unconfigured);
        }
        let version = inputs.get("version").and_then(Value::as_str);
        let mut config = inputs.clone();
        config.retain(|name, _| !INTERNAL.contains(&name.as_str()));
        match self
            .packages
            .configure(urn.package(), version, &config)
            .await
        {
            Ok(provider) => Ok(ProviderHandle::Ready(provider)),
            Err(error) => {
                let diagnostic = missing("which cannot be used").caused_by(&error);
                Err(Box::new(with_hints(diagnostic, &error)))
            }
        }
    }

    /// The inputs of a provider resource: as registered in this run, else as in the old state.
    fn provider_inputs(&self, urn: &Urn) -> Option<PropertyMap> {
        let state = self.state.lock();
        if let Some(live) = state.live.get(urn) {
            return Some(live.state.inputs.clone());
        }
        let renamed = state.renames.get(urn).and_then(|urn| state.live.get(urn));
        if let Some(live) = renamed {
            return Some(live.state.inputs.clone());
        }
        let index = state.by_urn.get(urn)?;
        Some(state.olds[*index].state.inputs.clone())
    }

    /// Whether moving from one provider to another needs a replacement: not when it is the same
    /// instance, not between default providers, and not when both have the same settings.
    pub(crate) fn provider_change_replaces(&self, old: &str, new: &str) -> bool {
        if old == new {
            return false;
        }
        let (Some((old_urn, old_id)), Some((new_urn, new_id))) =
            (split_provider_reference(old), split_provider_reference(new))
        else {
            // Between a component and a managed resource.
            return old.is_empty() != new.is_empty();
        };
        if old_id == new_id || (is_default_provider(&old_urn) && is_default_provider(&new_urn)) {
            return false;
        }
        let strip = |inputs: PropertyMap| {
            let mut inputs = inputs;
            inputs.retain(|name, _| !INTERNAL.contains(&name.as_str()));
            inputs
        };
        match (
            self.provider_inputs(&old_urn),
            self.provider_inputs(&new_urn),
        ) {
            (Some(old), Some(new)) => !crate::diff::same_maps(&strip(old), &strip(new)),
            _ => true,
        }
    }
}

/// Adds the hints that a provider gave.
pub(crate) fn with_hints(diagnostic: Diagnostic, error: &ProviderError) -> Diagnostic {
    match error {
        ProviderError::Failed { hints, .. } => hints.iter().fold(diagnostic, Diagnostic::hint),
        ProviderError::UnknownType { hint, .. } => hint.iter().fold(diagnostic, Diagnostic::hint),
        _ => diagnostic,
    }
}

/// Serves provider resources themselves: their settings are their state.
struct ProviderResources {
    rng: Arc<dyn Rng>,
}

#[async_trait]
impl Provider for ProviderResources {
    async fn check(
        &self,
        _: &CallContext,
        req: CheckRequest,
    ) -> Result<CheckResponse, ProviderError> {
        Ok(CheckResponse {
            inputs: req.inputs,
            failures: Vec::new(),
        })
    }

    async fn diff(&self, _: &CallContext, _: DiffRequest) -> Result<DiffResponse, ProviderError> {
        Ok(DiffResponse::default())
    }

    async fn create(
        &self,
        ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let id = if ctx.preview {
            String::new()
        } else {
            let mut bytes = [0; 16];
            self.rng.fill(&mut bytes);
            // Version 4, variant 1 of RFC 9562.
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            )
        };
        Ok(CreateResponse {
            id,
            outputs: req.inputs,
        })
    }

    async fn update(
        &self,
        _: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        Ok(req.inputs)
    }

    async fn delete(&self, _: &CallContext, _: DeleteRequest) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn read(
        &self,
        _: &CallContext,
        req: ReadRequest,
    ) -> Result<Option<ReadResponse>, ProviderError> {
        Ok(Some(ReadResponse {
            id: req.id,
            inputs: Some(req.inputs),
            outputs: req.outputs,
        }))
    }

    async fn invoke(
        &self,
        _: &CallContext,
        function: &str,
        _: PropertyMap,
    ) -> Result<Result<PropertyMap, Vec<CheckFailure>>, ProviderError> {
        Err(ProviderError::Unsupported(function.to_owned()))
    }
}
