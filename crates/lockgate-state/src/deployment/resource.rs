//! One resource entry as JSON: the keys of the engine guide, section 13.1. Keys that Lockgate
//! does not act on travel as text in `extra`.

use std::collections::BTreeMap;
use std::str::FromStr;

use lockgate_model::resource::{CustomTimeouts, PendingKind};
use lockgate_model::{PropertyMap, ResourceState, Timestamp, Urn};
use serde::de::DeserializeOwned;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::DeploymentError;
use super::value::{Decoder, Encoder, PropertiesOut, decode_properties};

/// Extra keys of a resource that count as a feature of version 4, with the feature's name.
pub(super) const EXTRA_FEATURES: &[(&str, &str)] = &[
    ("refreshBeforeUpdate", "refreshBeforeUpdate"),
    ("viewOf", "views"),
    ("resourceHooks", "hooks"),
    ("extensionRef", "extensionParameterization"),
    ("snippetID", "snippets-prototype"),
];

/// Writes a resource entry; empty keys are left out.
pub(crate) struct ResourceOut<'a>(pub(crate) &'a ResourceState, pub(crate) Encoder<'a>);

impl Serialize for ResourceOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(state, encoder) = *self;
        let urn = state.urn_str();
        let mut out = Keys(serializer.serialize_map(None)?);
        out.put("urn", urn)?;
        out.put("custom", &state.custom)?;
        out.flag("delete", state.delete)?;
        out.text("id", &state.id)?;
        out.put("type", state.type_token())?;
        out.properties("inputs", &state.inputs, encoder.within(urn, "inputs"))?;
        out.properties("outputs", &state.outputs, encoder.within(urn, "outputs"))?;
        out.maybe("parent", state.parent.as_ref().map(Urn::as_str))?;
        out.flag("protect", state.protect)?;
        out.flag("taint", state.taint)?;
        out.flag("external", state.external)?;
        out.urns("dependencies", &state.dependencies)?;
        out.list("initErrors", &state.init_errors)?;
        out.text("provider", &state.provider)?;
        if !state.property_dependencies.is_empty() {
            let names: BTreeMap<&str, Vec<&str>> = state
                .property_dependencies
                .iter()
                .map(|(name, urns)| (name.as_str(), urns.iter().map(Urn::as_str).collect()))
                .collect();
            out.put("propertyDependencies", &names)?;
        }
        out.flag("pendingReplacement", state.pending_replacement)?;
        out.list("additionalSecretOutputs", &state.additional_secret_outputs)?;
        if state.custom_timeouts != CustomTimeouts::default() {
            out.put(
                "customTimeouts",
                &TimeoutsWire::from(&state.custom_timeouts),
            )?;
        }
        out.text("importID", &state.import_id)?;
        out.flag("retainOnDelete", state.retain_on_delete)?;
        out.maybe("deletedWith", state.deleted_with.as_ref().map(Urn::as_str))?;
        out.urns("replaceWith", &state.replace_with)?;
        out.maybe("created", state.created.map(|time| time.to_string()))?;
        out.maybe("modified", state.modified.map(|time| time.to_string()))?;
        out.text("sourcePosition", &state.source_position)?;
        out.list("ignoreChanges", &state.ignore_changes)?;
        out.list("replaceOnChanges", &state.replace_on_changes)?;
        write_extra(&mut out.0, &state.extra)?;
        out.0.end()
    }
}

/// Writes keys kept as text.
pub(super) fn write_extra<M: SerializeMap>(
    out: &mut M,
    extra: &BTreeMap<String, String>,
) -> Result<(), M::Error> {
    for (key, text) in extra {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(<M::Error as serde::ser::Error>::custom)?;
        out.serialize_entry(key, raw)?;
    }
    Ok(())
}

/// A map under construction whose empty values are left out.
struct Keys<M>(M);

impl<M: SerializeMap> Keys<M> {
    fn put<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), M::Error> {
        self.0.serialize_entry(key, value)
    }

    fn maybe<T: Serialize>(&mut self, key: &str, value: Option<T>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.put(key, &value))
    }

    fn flag(&mut self, key: &str, value: bool) -> Result<(), M::Error> {
        self.maybe(key, value.then_some(true))
    }

    fn text(&mut self, key: &str, value: &str) -> Result<(), M::Error> {
        self.maybe(key, (!value.is_empty()).then_some(value))
    }

    fn list(&mut self, key: &str, value: &[String]) -> Result<(), M::Error> {
        self.maybe(key, (!value.is_empty()).then_some(value))
    }

    fn urns(&mut self, key: &str, urns: &[Urn]) -> Result<(), M::Error> {
        let texts: Vec<&str> = urns.iter().map(Urn::as_str).collect();
        self.maybe(key, (!texts.is_empty()).then_some(texts))
    }

    fn properties(
        &mut self,
        key: &str,
        map: &PropertyMap,
        encoder: Encoder<'_>,
    ) -> Result<(), M::Error> {
        self.maybe(
            key,
            (!map.is_empty()).then_some(PropertiesOut(map, encoder)),
        )
    }
}

#[derive(Serialize, Deserialize)]
struct TimeoutsWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    create: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<f64>,
}

impl From<&CustomTimeouts> for TimeoutsWire {
    fn from(timeouts: &CustomTimeouts) -> Self {
        Self {
            create: timeouts.create,
            update: timeouts.update,
            delete: timeouts.delete,
            read: timeouts.read,
        }
    }
}

impl From<TimeoutsWire> for CustomTimeouts {
    fn from(wire: TimeoutsWire) -> Self {
        Self {
            create: wire.create,
            update: wire.update,
            delete: wire.delete,
            read: wire.read,
        }
    }
}

/// The keys of one object, taken out as they are understood; what is left is `extra`.
pub(super) struct Fields<'a> {
    /// For messages: which object this is.
    at: String,
    keys: BTreeMap<String, &'a RawValue>,
}

impl<'a> Fields<'a> {
    pub(super) fn parse(at: String, text: &'a str) -> Result<Self, DeploymentError> {
        match serde_json::from_str(text) {
            Ok(keys) => Ok(Self { at, keys }),
            Err(source) => Err(DeploymentError::Json { at, source }),
        }
    }

    pub(super) fn error(&self, what: impl Into<String>) -> DeploymentError {
        DeploymentError::Shape {
            at: self.at.clone(),
            what: what.into(),
        }
    }

    /// The text of a key, unless it is absent or null.
    pub(super) fn raw(&mut self, key: &str) -> Option<&'a str> {
        self.keys
            .remove(key)
            .map(RawValue::get)
            .filter(|text| *text != "null")
    }

    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
    ) -> Result<Option<T>, DeploymentError> {
        let Some(text) = self.raw(key) else {
            return Ok(None);
        };
        // The source is left out: serde quotes what it found, which may be a secret.
        serde_json::from_str(text)
            .map(Some)
            .map_err(|_| self.error(format!("`{key}` has the wrong kind of value")))
    }

    pub(super) fn or_default<T: DeserializeOwned + Default>(
        &mut self,
        key: &str,
    ) -> Result<T, DeploymentError> {
        Ok(self.take(key)?.unwrap_or_default())
    }

    fn urn(&self, text: &str) -> Result<Urn, DeploymentError> {
        Urn::parse(text).map_err(|error| self.error(error.to_string()))
    }

    fn maybe_urn(&mut self, key: &str) -> Result<Option<Urn>, DeploymentError> {
        let text: String = self.or_default(key)?;
        if text.is_empty() {
            return Ok(None);
        }
        self.urn(&text).map(Some)
    }

    fn urns(&mut self, key: &str) -> Result<Vec<Urn>, DeploymentError> {
        let texts: Vec<String> = self.or_default(key)?;
        texts.iter().map(|text| self.urn(text)).collect()
    }

    fn time(&mut self, key: &str) -> Result<Option<Timestamp>, DeploymentError> {
        let Some(text) = self.take::<String>(key)? else {
            return Ok(None);
        };
        let time = jiff::Timestamp::from_str(&text)
            .map_err(|_| self.error(format!("`{key}` is no RFC 3339 time")))?;
        // The year 1, which means "not set" to other writers, does not fit and is left out.
        Ok(i64::try_from(time.as_nanosecond()).ok().map(Timestamp))
    }

    fn properties(
        &mut self,
        key: &str,
        decoder: Decoder<'_>,
    ) -> Result<PropertyMap, DeploymentError> {
        let Some(text) = self.raw(key) else {
            return Ok(PropertyMap::new());
        };
        decode_properties(text, decoder).map_err(|source| match decoder.failure.take() {
            Some(error) => DeploymentError::Secrets(error),
            None => DeploymentError::Json {
                at: format!("`{key}` of {}", self.at),
                source,
            },
        })
    }

    /// What was not taken.
    pub(super) fn rest(self) -> BTreeMap<String, String> {
        self.keys
            .into_iter()
            .map(|(key, raw)| (key, raw.get().to_owned()))
            .collect()
    }
}

/// Reads a resource entry. `at` names it in messages until its URN is known.
pub(crate) fn decode_resource(
    at: String,
    text: &str,
    decoder: Decoder<'_>,
) -> Result<ResourceState, DeploymentError> {
    let mut fields = Fields::parse(at, text)?;
    let Some(urn) = fields.maybe_urn("urn")? else {
        return Err(fields.error("it has no `urn`"));
    };
    fields.at = format!("`{urn}`");
    let kind: String = fields.or_default("type")?;
    if kind != urn.type_token() {
        return Err(fields.error(format!(
            "its `type` is `{kind}`, unlike the type in its URN"
        )));
    }
    let place = urn.clone();
    let mut inputs = fields.properties("inputs", decoder.within(place.as_str(), "inputs"))?;
    // Version 1 kept what providers filled in apart from what programs gave.
    for (name, value) in fields.properties("defaults", decoder.within(place.as_str(), "inputs"))? {
        inputs.entry(name).or_insert(value);
    }
    let outputs = fields.properties("outputs", decoder.within(place.as_str(), "outputs"))?;
    let names: BTreeMap<String, Vec<String>> = fields.or_default("propertyDependencies")?;
    let mut property_dependencies = BTreeMap::new();
    for (name, texts) in names {
        let urns: Result<Vec<Urn>, _> = texts.iter().map(|text| fields.urn(text)).collect();
        property_dependencies.insert(name, urns?);
    }
    Ok(ResourceState {
        urn: Some(urn),
        custom: fields.or_default("custom")?,
        id: fields.or_default("id")?,
        parent: fields.maybe_urn("parent")?,
        provider: fields.or_default("provider")?,
        inputs,
        outputs,
        dependencies: fields.urns("dependencies")?,
        property_dependencies,
        deleted_with: fields.maybe_urn("deletedWith")?,
        replace_with: fields.urns("replaceWith")?,
        additional_secret_outputs: fields.or_default("additionalSecretOutputs")?,
        init_errors: fields.or_default("initErrors")?,
        delete: fields.or_default("delete")?,
        protect: fields.or_default("protect")?,
        taint: fields.or_default("taint")?,
        external: fields.or_default("external")?,
        pending_replacement: fields.or_default("pendingReplacement")?,
        retain_on_delete: fields.or_default("retainOnDelete")?,
        import_id: fields.or_default("importID")?,
        ignore_changes: fields.or_default("ignoreChanges")?,
        replace_on_changes: fields.or_default("replaceOnChanges")?,
        custom_timeouts: fields
            .take::<TimeoutsWire>("customTimeouts")?
            .map(CustomTimeouts::from)
            .unwrap_or_default(),
        created: fields.time("created")?,
        modified: fields.time("modified")?,
        source_position: fields.or_default("sourcePosition")?,
        extra: fields.rest(),
    })
}

/// The words for pending operations, both ways.
pub(crate) const PENDING_KINDS: [(PendingKind, &str); 4] = [
    (PendingKind::Creating, "creating"),
    (PendingKind::Updating, "updating"),
    (PendingKind::Deleting, "deleting"),
    (PendingKind::Reading, "reading"),
];

/// The word for a pending operation.
pub(crate) fn pending_word(kind: PendingKind) -> &'static str {
    PENDING_KINDS
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or("creating", |(_, word)| word)
}

/// The pending operation behind a word.
pub(crate) fn find_pending_kind(word: &str) -> Option<PendingKind> {
    PENDING_KINDS
        .iter()
        .find(|(_, known)| *known == word)
        .map(|(kind, _)| *kind)
}
