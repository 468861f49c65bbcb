//! Requests of a program as the engine's own types.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_engine::source::{
    Alias, AliasParent, Invocation, Places, ReadResource, Registration, ResourceOptions,
};
use lockgate_model::Urn;
use lockgate_model::resource::CustomTimeouts;

use crate::duration;
use crate::generated::{
    self as rpc, ReadResourceRequest, RegisterResourceRequest, ResourceInvokeRequest, alias,
    register_resource_request as nested,
};
use crate::place::{SourceFiles, SourcePlace};
use crate::wire::{self, WireError};

/// Why a request makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// A property does not follow the encoding.
    #[error("{0}: {1}")]
    Wire(String, WireError),
    /// A text that should be a URN.
    #[error("{0}: `{1}` is no resource URN")]
    Urn(String, String),
    /// A time limit that is no duration.
    #[error("{0}: `{1}` is no duration, expected one like `5m` or `1h30m`")]
    Timeout(String, String),
    /// Something this version does not do.
    #[error("{0}: {1} are not supported yet")]
    Unsupported(String, &'static str),
}

/// What the requests themselves do not say.
pub(crate) struct Caller<'c> {
    /// The program is a Node.js one, whose older SDKs mean alias parents the other way round.
    pub(crate) nodejs: bool,
    /// The files of the program, for source positions.
    pub(crate) sources: &'c Arc<SourceFiles>,
}

impl Caller<'_> {
    /// Where a resource is declared; `None` outside the project folder.
    fn place(&self, given: Option<&rpc::SourcePosition>) -> Option<Arc<SourcePlace>> {
        SourcePlace::new(given?, self.sources).map(Arc::new)
    }
}

/// How the types of resources begin whose provider is code of the program itself.
const DYNAMIC: [&str; 2] = ["pulumi-python:dynamic", "pulumi-nodejs:dynamic"];

/// What a resource should become.
pub(crate) fn registration(
    request: RegisterResourceRequest,
    caller: &Caller<'_>,
) -> Result<Registration, RequestError> {
    let subject = format!("resource `{}`", request.name);
    if request.remote {
        return Err(RequestError::Unsupported(
            subject,
            "components of packages in another language",
        ));
    }
    if !request.transforms.is_empty() || request.hooks.is_some_and(|hooks| is_used(&hooks)) {
        return Err(RequestError::Unsupported(subject, "transforms and hooks"));
    }
    if DYNAMIC.iter().any(|kind| request.r#type.starts_with(kind)) {
        return Err(RequestError::Unsupported(subject, "dynamic providers"));
    }
    let mut depends_on = urns(&subject, &request.dependencies)?;
    let mut property_dependencies = BTreeMap::new();
    for (property, urns_of) in &request.property_dependencies {
        property_dependencies.insert(property.clone(), urns(&subject, &urns_of.urns)?);
    }
    let has_own = !property_dependencies.is_empty();
    let inputs = wire::decode(request.object, &mut |property, urn| {
        if has_own {
            let known: &mut Vec<Urn> = property_dependencies
                .entry(property.to_owned())
                .or_default();
            known.push(urn.clone());
        }
        depends_on.push(urn);
    })
    .map_err(|error| RequestError::Wire(subject.clone(), error))?;
    let mut aliases: Vec<Alias> = urns(&subject, &request.alias_ur_ns)?
        .into_iter()
        .map(Alias::Urn)
        .collect();
    let swapped = caller.nodejs && !request.alias_specs;
    for alias in request.aliases {
        aliases.extend(read_alias(&subject, alias, swapped)?);
    }
    let trigger = request
        .replacement_trigger
        .map(|value| wire::decode_value(value, &mut |_| {}))
        .transpose()
        .map_err(|error| RequestError::Wire(subject.clone(), error))?;
    let place = caller.place(request.source_position.as_ref());
    let delete_first = request.delete_before_replace_defined || request.delete_before_replace;
    Ok(Registration {
        type_token: request.r#type,
        name: request.name,
        custom: request.custom,
        inputs,
        property_dependencies,
        options: ResourceOptions {
            parent: urn(&subject, &request.parent)?,
            depends_on,
            protect: request.protect,
            retain_on_delete: request.retain_on_delete,
            ignore_changes: request.ignore_changes,
            replace_on_changes: request.replace_on_changes,
            delete_before_replace: delete_first.then_some(request.delete_before_replace),
            additional_secret_outputs: request.additional_secret_outputs,
            aliases,
            import_id: filled(request.import_id),
            custom_timeouts: timeouts(&subject, request.custom_timeouts.as_ref())?,
            deleted_with: urn(&subject, &request.deleted_with)?,
            replace_with: urns(&subject, &request.replace_with)?,
            replacement_trigger: trigger,
            hide_diffs: request.hide_diffs,
            provider: filled(request.provider),
            providers: request.providers.into_iter().collect(),
            version: filled(request.version),
            source_position: place.as_ref().map(|place| place.position()),
            places: place.map(|place| place as Arc<dyn Places>),
        },
    })
}

/// An existing resource to be looked at.
pub(crate) fn read(
    request: ReadResourceRequest,
    caller: &Caller<'_>,
) -> Result<ReadResource, RequestError> {
    let subject = format!("resource `{}`", request.name);
    let mut depends_on = urns(&subject, &request.dependencies)?;
    let inputs = wire::decode(request.properties, &mut |_, urn| depends_on.push(urn))
        .map_err(|error| RequestError::Wire(subject.clone(), error))?;
    let place = caller.place(request.source_position.as_ref());
    Ok(ReadResource {
        type_token: request.r#type,
        name: request.name,
        id: wire::id(request.id),
        inputs,
        options: ResourceOptions {
            parent: urn(&subject, &request.parent)?,
            depends_on,
            additional_secret_outputs: request.additional_secret_outputs,
            provider: filled(request.provider),
            version: filled(request.version),
            source_position: place.as_ref().map(|place| place.position()),
            places: place.map(|place| place as Arc<dyn Places>),
            ..ResourceOptions::default()
        },
    })
}

/// A function call.
pub(crate) fn invocation(request: ResourceInvokeRequest) -> Result<Invocation, RequestError> {
    let subject = format!("function `{}`", request.tok);
    let mut depends_on = urns(&subject, &request.depends_on)?;
    let args = wire::decode(request.args, &mut |_, urn| depends_on.push(urn))
        .map_err(|error| RequestError::Wire(subject.clone(), error))?;
    Ok(Invocation {
        args,
        provider: filled(request.provider),
        version: filled(request.version),
        depends_on,
        parent: urn(&subject, &request.parent)?,
        function: request.tok,
    })
}

fn is_used(hooks: &nested::ResourceHooksBinding) -> bool {
    *hooks != nested::ResourceHooksBinding::default()
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn urn(subject: &str, text: &str) -> Result<Option<Urn>, RequestError> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = Urn::parse(text);
    let wrong = |_| RequestError::Urn(subject.to_owned(), text.to_owned());
    parsed.map(Some).map_err(wrong)
}

fn urns(subject: &str, texts: &[String]) -> Result<Vec<Urn>, RequestError> {
    let parsed = texts.iter().map(|text| urn(subject, text));
    parsed.filter_map(Result::transpose).collect()
}

fn timeouts(
    subject: &str,
    given: Option<&nested::CustomTimeouts>,
) -> Result<CustomTimeouts, RequestError> {
    let Some(given) = given else {
        return Ok(CustomTimeouts::default());
    };
    let read = |text: &String| match text.as_str() {
        "" => Ok(None),
        text => duration::seconds(text)
            .map(Some)
            .ok_or_else(|| RequestError::Timeout(subject.to_owned(), text.to_owned())),
    };
    Ok(CustomTimeouts {
        create: read(&given.create)?,
        update: read(&given.update)?,
        delete: read(&given.delete)?,
        read: read(&given.read)?,
    })
}

/// `None` for an alias that says nothing.
fn read_alias(
    subject: &str,
    alias: rpc::Alias,
    swapped: bool,
) -> Result<Option<Alias>, RequestError> {
    let spec = match alias.alias {
        None => return Ok(None),
        Some(rpc::alias::Alias::Urn(text)) => return Ok(urn(subject, &text)?.map(Alias::Urn)),
        Some(rpc::alias::Alias::Spec(spec)) => spec,
    };
    // Node.js SDKs without `aliasSpecs` say nothing for "had no parent" and `noParent` for "has
    // its default parent" (engine guide, section 6).
    let (nothing, no_parent) = if swapped {
        (AliasParent::None, AliasParent::Same)
    } else {
        (AliasParent::Same, AliasParent::None)
    };
    let parent = match spec.parent {
        Some(alias::spec::Parent::NoParent(true)) => no_parent,
        Some(alias::spec::Parent::ParentUrn(text)) => match urn(subject, &text)? {
            Some(urn) => AliasParent::Urn(urn),
            None => nothing,
        },
        Some(alias::spec::Parent::NoParent(false)) | None => nothing,
    };
    Ok(Some(Alias::Parts {
        name: filled(spec.name),
        type_token: filled(spec.r#type),
        stack: filled(spec.stack),
        project: filled(spec.project),
        parent,
    }))
}

#[cfg(test)]
mod tests;
