//! Deployment JSON, the format in which other tools export and import a stack (engine guide,
//! section 13.1): versions 1 to 4 are read, 3 is written, or 4 when a feature of it is in use.

mod resource;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use lockgate_diag::{Code, codes::state};
use lockgate_model::{PendingOperation, ResourceState, Snapshot, Timestamp};
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::secrets::{Keyring, SecretsConfig, SecretsError, SecretsManager};

pub(crate) use resource::{ResourceOut, decode_resource, find_pending_kind, pending_word};
pub(crate) use value::{
    Decoder, Encoder, Failure, Locked, PropertiesOut, SecretsOut, decode_properties,
};

use resource::{EXTRA_FEATURES, Fields, write_extra};
use value::{SIGNATURE, ValueOut, decode_value};

/// The newest version that is read.
const VERSION_MAX: u64 = 4;
/// Features of version 4 that survive a round trip. `byteString` is not among them.
const FEATURES: &[&str] = &[
    "refreshBeforeUpdate",
    "views",
    "hooks",
    "taint",
    "replaceWith",
    "snippets-prototype",
    "extensionParameterization",
];
/// Written as the version of the manifest.
const WRITER: &str = concat!("lockgate-", env!("CARGO_PKG_VERSION"));
/// Where the keys of a foreign manifest are kept in `Snapshot::extra`.
const MANIFEST: &str = "manifest";
/// Faults listed in one message; a broken state tends to have hundreds of the same kind.
const FAULTS_SHOWN: usize = 20;

/// Why a deployment is refused.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The text is no JSON of the expected shape.
    #[error("read {at}")]
    Json {
        /// Which object.
        at: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A key has a value that cannot be.
    #[error("{at}: {what}")]
    Shape {
        /// Which object.
        at: String,
        /// What was found.
        what: String,
    },
    /// A version that is not known yet.
    #[error("the deployment has version {0}, expected 1 to {VERSION_MAX}")]
    Version(u64),
    /// A feature of version 4 that is not known.
    #[error("the deployment uses the feature `{0}`, which this version of lockgate does not know")]
    Feature(String),
    /// The entries contradict each other.
    #[error("the deployment is inconsistent: {}", faults.join("; "))]
    Integrity {
        /// Every fault found, up to a cap.
        faults: Vec<String>,
    },
    /// A secret cannot be read or written.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The text could not be written.
    #[error("write the deployment")]
    Write(#[source] std::io::Error),
}

impl DeploymentError {
    /// Names the first faults of a list.
    pub(crate) fn integrity(mut faults: Vec<String>) -> Self {
        let more = faults.len().saturating_sub(FAULTS_SHOWN);
        if more > 0 {
            faults.truncate(FAULTS_SHOWN);
            faults.push(format!("and {more} more"));
        }
        Self::Integrity { faults }
    }

    pub(crate) fn code_and_hint(&self) -> (Code, Option<String>) {
        match self {
            Self::Json { .. } | Self::Shape { .. } => (state::DEPLOYMENT, None),
            Self::Version(_) | Self::Feature(_) => (
                state::DEPLOYMENT,
                Some("export it with the tool's own older format, or update lockgate".to_owned()),
            ),
            Self::Integrity { .. } => (
                state::INTEGRITY,
                Some("run `lockgate stack repair`, or import a corrected export".to_owned()),
            ),
            Self::Secrets(error) => (state::SECRETS, error.hint()),
            Self::Write(_) => (state::STATE_IO, None),
        }
    }
}

/// How an export holds secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportedSecrets {
    /// As cells of the stack's manager.
    Encrypted,
    /// In clear text, for a move to another manager.
    Shown,
}

/// A deployment that was read.
#[derive(Debug)]
pub struct Decoded {
    /// The state, checked.
    pub snapshot: Snapshot,
    /// The manager that its secrets were encrypted with, if it names one Lockgate has.
    pub secrets: Option<SecretsManager>,
    /// Why its secrets are unknown, when that was allowed.
    pub(crate) locked: Option<SecretsError>,
}

/// Checks a snapshot; all faults at once.
pub(crate) fn check_integrity(snapshot: &Snapshot) -> Result<(), DeploymentError> {
    lockgate_engine::integrity::check(snapshot).map_err(|errors| {
        DeploymentError::integrity(errors.iter().map(ToString::to_string).collect())
    })
}

/// A copy whose keys kept as text have their secrets written as `to` says. They are not decoded
/// on load, so a change of the manager has to reach into them.
pub(crate) fn with_extra_encrypted(
    snapshot: &Snapshot,
    from: Option<&SecretsManager>,
    to: SecretsOut<'_>,
) -> Result<Snapshot, DeploymentError> {
    let mut snapshot = snapshot.clone();
    encrypt_extra(&mut snapshot.extra, from, to)?;
    let pending = snapshot.pending.iter_mut().map(|p| &mut p.resource);
    for state in snapshot.resources.iter_mut().chain(pending) {
        if state.extra.values().any(|text| text.contains(SIGNATURE)) {
            encrypt_extra(&mut Arc::make_mut(state).extra, from, to)?;
        }
    }
    Ok(snapshot)
}

fn encrypt_extra(
    extra: &mut BTreeMap<String, String>,
    from: Option<&SecretsManager>,
    to: SecretsOut<'_>,
) -> Result<(), DeploymentError> {
    let failure = Failure::default();
    let decoder = Decoder {
        secrets: from.ok_or("none"),
        locked: Locked::Refuse,
        place: Default::default(),
        failure: &failure,
    };
    for (key, text) in extra {
        if !text.contains(SIGNATURE) {
            continue;
        }
        let encoder = Encoder::new(to, &failure).within("", key);
        let encrypted = decode_value(text, decoder)
            .and_then(|value| serde_json::to_string(&ValueOut(&value, encoder)));
        *text = encrypted.map_err(|source| match failure.take() {
            Some(error) => DeploymentError::Secrets(error),
            None => DeploymentError::Json {
                at: format!("`{key}`"),
                source,
            },
        })?;
    }
    Ok(())
}

/// Reads an export (`deployment`) or a state file (`checkpoint`) and checks it.
pub fn decode_deployment(text: &str, keyring: &Keyring) -> Result<Decoded, DeploymentError> {
    decode_with(text, keyring, Locked::Refuse)
}

/// As [`decode_deployment`]; `locked` says what becomes of secrets that cannot be opened.
pub(crate) fn decode_with(
    text: &str,
    keyring: &Keyring,
    locked: Locked,
) -> Result<Decoded, DeploymentError> {
    let mut fields = Fields::parse("the deployment".to_owned(), text)?;
    let version: u64 = fields.or_default("version")?;
    if !(1..=VERSION_MAX).contains(&version) {
        return Err(DeploymentError::Version(version));
    }
    let features: Vec<String> = fields.or_default("features")?;
    if let Some(feature) = features.iter().find(|f| !FEATURES.contains(&f.as_str())) {
        return Err(DeploymentError::Feature(feature.clone()));
    }
    if let Some(inner) = fields.raw("deployment") {
        return decode_inner(inner, keyring, locked);
    }
    let Some(checkpoint) = fields.raw("checkpoint") else {
        return Err(fields.error("it has neither `deployment` nor `checkpoint`"));
    };
    match Fields::parse("the checkpoint".to_owned(), checkpoint)?.raw("latest") {
        Some(inner) => decode_inner(inner, keyring, locked),
        None => Ok(Decoded {
            snapshot: Snapshot::default(),
            secrets: None,
            locked: None,
        }),
    }
}

fn decode_inner(text: &str, keyring: &Keyring, locked: Locked) -> Result<Decoded, DeploymentError> {
    let mut fields = Fields::parse("the deployment".to_owned(), text)?;
    let manifest = decode_manifest(&mut fields)?;
    let (manager, kind) = decode_secrets_provider(&mut fields, keyring)?;
    let failure = Failure::default();
    // Tried once and not per secret, because a wrong passphrase costs its derivation each time.
    let why_locked = match &manager {
        Some(manager) if locked == Locked::Unknown && text.contains("\"ciphertext\"") => {
            manager.unlock().err()
        }
        _ => None,
    };
    let usable = manager.as_ref().filter(|_| why_locked.is_none());
    let decoder = Decoder {
        secrets: usable.ok_or(kind.as_str()),
        locked,
        place: Default::default(),
        failure: &failure,
    };
    let resources = decode_list(&mut fields, "resources", |index, raw| {
        decode_resource(format!("resource {index}"), raw, decoder).map(Arc::new)
    })?;
    let pending = decode_list(&mut fields, "pending_operations", |index, raw| {
        decode_pending(index, raw, decoder)
    })?;
    let mut extra = fields.rest();
    if let Some(manifest) = manifest {
        extra.insert(MANIFEST.to_owned(), manifest);
    }
    let snapshot = Snapshot {
        resources,
        pending,
        extra,
    };
    check_integrity(&snapshot)?;
    Ok(Decoded {
        snapshot,
        secrets: manager,
        locked: why_locked,
    })
}

/// Checks the manifest; gives back its keys that we do not write ourselves.
fn decode_manifest(fields: &mut Fields<'_>) -> Result<Option<String>, DeploymentError> {
    let Some(text) = fields.raw(MANIFEST) else {
        return Ok(None);
    };
    let mut manifest = Fields::parse("the manifest".to_owned(), text)?;
    let version: String = manifest.or_default("version")?;
    let magic: String = manifest.or_default("magic")?;
    if !magic.is_empty() && magic != magic_of(&version) {
        return Err(manifest.error("its `magic` does not match its `version`"));
    }
    manifest.raw("time");
    let rest = manifest.rest();
    let Ok(text) = serde_json::to_string(&ExtraOut(&rest)) else {
        return Ok(None);
    };
    Ok((!rest.is_empty()).then_some(text))
}

fn magic_of(version: &str) -> String {
    hex::encode(Sha256::digest(version.as_bytes()))
}

/// The manager a deployment names, and the name of its kind for messages.
fn decode_secrets_provider(
    fields: &mut Fields<'_>,
    keyring: &Keyring,
) -> Result<(Option<SecretsManager>, String), DeploymentError> {
    let Some(wire) = fields.take::<SecretsWire>("secrets_providers")? else {
        return Ok((None, "none".to_owned()));
    };
    let config = match wire.kind.as_str() {
        "passphrase" => SecretsConfig::Passphrase {
            salt: wire.state.salt.unwrap_or_default(),
        },
        "local" => SecretsConfig::Local {
            key: wire.state.key.unwrap_or_default(),
            check: wire.state.check.unwrap_or_default(),
        },
        _ => return Ok((None, wire.kind)),
    };
    Ok((Some(keyring.open(&config)?), wire.kind))
}

#[derive(Serialize, Deserialize)]
struct SecretsWire {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    state: SecretsStateWire,
}

#[derive(Serialize, Deserialize, Default)]
struct SecretsStateWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

impl From<&SecretsConfig> for SecretsWire {
    fn from(config: &SecretsConfig) -> Self {
        let (kind, state) = match config.clone() {
            SecretsConfig::Passphrase { salt } => (
                "passphrase",
                SecretsStateWire {
                    salt: Some(salt),
                    ..Default::default()
                },
            ),
            SecretsConfig::Local { key, check } => (
                "local",
                SecretsStateWire {
                    key: Some(key),
                    check: Some(check),
                    ..Default::default()
                },
            ),
        };
        Self {
            kind: kind.to_owned(),
            state,
        }
    }
}

fn decode_list<T>(
    fields: &mut Fields<'_>,
    key: &str,
    decode: impl Fn(usize, &str) -> Result<T, DeploymentError>,
) -> Result<Vec<T>, DeploymentError> {
    let Some(text) = fields.raw(key) else {
        return Ok(Vec::new());
    };
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|source| DeploymentError::Json {
            at: format!("`{key}`"),
            source,
        })?;
    items
        .into_iter()
        .enumerate()
        .map(|(index, raw)| decode(index, raw.get()))
        .collect()
}

fn decode_pending(
    index: usize,
    text: &str,
    decoder: Decoder<'_>,
) -> Result<PendingOperation, DeploymentError> {
    let at = format!("pending operation {index}");
    let mut fields = Fields::parse(at.clone(), text)?;
    let word: String = fields.or_default("type")?;
    let kind = find_pending_kind(&word)
        .ok_or_else(|| fields.error(format!("its `type` is `{word}`, which is no operation")))?;
    let resource = fields
        .raw("resource")
        .ok_or_else(|| fields.error("it has no `resource`"))?;
    let key: String = fields.or_default("idempotencyKey")?;
    Ok(PendingOperation {
        resource: Arc::new(decode_resource(at, resource, decoder)?),
        kind,
        // Keys tell pending operations apart, so those of other tools get one too.
        idempotency_key: if key.is_empty() {
            format!("imported-{index}")
        } else {
            key
        },
    })
}

/// Writes an export of `snapshot`, which the caller has checked. `secrets` is the stack's
/// manager; it is named in the export unless secrets are shown and only Lockgate knows it.
pub fn encode_deployment(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    secrets: &SecretsManager,
    shown: ExportedSecrets,
    time: Timestamp,
) -> Result<(), DeploymentError> {
    let failure = Failure::default();
    let secrets_out = match shown {
        ExportedSecrets::Encrypted => SecretsOut::Cells(secrets),
        ExportedSecrets::Shown => SecretsOut::Shown,
    };
    let deployment = DeploymentOut {
        snapshot,
        config: secrets.config(),
        encoder: Encoder::new(secrets_out, &failure),
        time,
    };
    serde_json::to_writer(out, &deployment).map_err(|error| match failure.take() {
        Some(secrets) => DeploymentError::Secrets(secrets),
        None => DeploymentError::Write(error.into()),
    })
}

struct DeploymentOut<'a> {
    snapshot: &'a Snapshot,
    config: &'a SecretsConfig,
    encoder: Encoder<'a>,
    time: Timestamp,
}

impl Serialize for DeploymentOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let features = features_of(self.snapshot);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", if features.is_empty() { &3 } else { &4 })?;
        if !features.is_empty() {
            map.serialize_entry("features", &features)?;
        }
        map.serialize_entry("deployment", &InnerOut(self))?;
        map.end()
    }
}

struct InnerOut<'a>(&'a DeploymentOut<'a>);

impl Serialize for InnerOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let outer = self.0;
        let snapshot = outer.snapshot;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(MANIFEST, &ManifestOut(outer))?;
        // Other tools refuse a provider they do not know, even when no secret needs it.
        let known_here_only = matches!(outer.config, SecretsConfig::Local { .. });
        if !(known_here_only && matches!(outer.encoder.secrets, SecretsOut::Shown)) {
            map.serialize_entry("secrets_providers", &SecretsWire::from(outer.config))?;
        }
        map.serialize_entry(
            "resources",
            &ResourcesOut(&snapshot.resources, outer.encoder),
        )?;
        if !snapshot.pending.is_empty() {
            map.serialize_entry("pending_operations", &PendingOut(outer))?;
        }
        for (key, text) in snapshot.extra.iter().filter(|(key, _)| *key != MANIFEST) {
            let raw: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
            map.serialize_entry(key, raw)?;
        }
        map.end()
    }
}

struct ManifestOut<'a>(&'a DeploymentOut<'a>);

impl Serialize for ManifestOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &self.0.time.to_string())?;
        map.serialize_entry("magic", &magic_of(WRITER))?;
        map.serialize_entry("version", WRITER)?;
        if let Some(text) = self.0.snapshot.extra.get(MANIFEST) {
            let kept = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text)
                .map_err(serde::ser::Error::custom)?;
            for (key, raw) in kept {
                map.serialize_entry(&key, &raw)?;
            }
        }
        map.end()
    }
}

struct ExtraOut<'a>(&'a BTreeMap<String, String>);

impl Serialize for ExtraOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        write_extra(&mut map, self.0)?;
        map.end()
    }
}

struct ResourcesOut<'a>(&'a [Arc<ResourceState>], Encoder<'a>);

impl Serialize for ResourcesOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|state| ResourceOut(state, self.1)))
    }
}

struct PendingOut<'a>(&'a DeploymentOut<'a>);

impl Serialize for PendingOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry<'a> {
            resource: ResourceOut<'a>,
            #[serde(rename = "type")]
            kind: &'static str,
            idempotency_key: &'a str,
        }
        let pending = &self.0.snapshot.pending;
        let mut seq = serializer.serialize_seq(Some(pending.len()))?;
        for operation in pending {
            seq.serialize_element(&Entry {
                resource: ResourceOut(&operation.resource, self.0.encoder),
                kind: pending_word(operation.kind),
                idempotency_key: &operation.idempotency_key,
            })?;
        }
        seq.end()
    }
}

/// The features of version 4 that a snapshot uses, in order.
fn features_of(snapshot: &Snapshot) -> BTreeSet<&'static str> {
    let mut features = BTreeSet::new();
    let entries = snapshot.resources.iter();
    for state in entries.chain(snapshot.pending.iter().map(|p| &p.resource)) {
        if state.taint {
            features.insert("taint");
        }
        if !state.replace_with.is_empty() {
            features.insert("replaceWith");
        }
        for (key, feature) in EXTRA_FEATURES {
            if state.extra.contains_key(*key) {
                features.insert(feature);
            }
        }
    }
    if snapshot.extra.contains_key("snippets") {
        features.insert("snippets-prototype");
    }
    if snapshot.extra.contains_key("extensions") {
        features.insert("extensionParameterization");
    }
    features
}

#[cfg(test)]
pub(crate) mod tests;
