//! Journal entries as JSON, the payload of frames.

use std::sync::Arc;

use lockgate_model::{EntryId, JournalEntry};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::deployment::{
    Decoder, DeploymentError, Encoder, Failure, Locked, PropertiesOut, ResourceOut, SecretsOut,
    decode_properties, decode_resource, find_pending_kind, pending_word,
};
use crate::secrets::SecretsManager;

/// The stored form. `R` and `P` stand for a resource and properties, which are written from the
/// model and read as raw text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wire<R, P> {
    Begin {
        step: u64,
        kind: String,
        resource: R,
        key: String,
    },
    Done {
        step: Option<u64>,
        remove: Vec<u64>,
        add: Option<(u64, R)>,
    },
    Failed {
        step: u64,
        unresolved: bool,
    },
    Keep(u64),
    Outputs {
        entry: u64,
        outputs: P,
    },
    Resolved(u64),
    Finished,
}

/// Encodes an entry, secrets as cells.
pub(crate) fn encode_entry(
    entry: &JournalEntry,
    secrets: &SecretsManager,
) -> Result<Vec<u8>, DeploymentError> {
    let failure = Failure::default();
    let encoder = Encoder::new(SecretsOut::Cells(secrets), &failure);
    let wire = match entry {
        JournalEntry::Begin {
            step,
            kind,
            resource,
            idempotency_key,
        } => Wire::Begin {
            step: *step,
            kind: pending_word(*kind).to_owned(),
            resource: ResourceOut(resource, encoder),
            key: idempotency_key.clone(),
        },
        JournalEntry::Done { step, remove, add } => Wire::Done {
            step: *step,
            remove: remove.iter().map(|id| id.0).collect(),
            add: add
                .as_ref()
                .map(|(id, resource)| (id.0, ResourceOut(resource, encoder))),
        },
        JournalEntry::Failed { step, unresolved } => Wire::Failed {
            step: *step,
            unresolved: *unresolved,
        },
        JournalEntry::Keep { entry } => Wire::Keep(entry.0),
        JournalEntry::Outputs { entry, outputs } => Wire::Outputs {
            entry: entry.0,
            outputs: PropertiesOut(outputs, encoder.within("", "outputs")),
        },
        JournalEntry::Resolved { pending } => Wire::Resolved(*pending),
        JournalEntry::Finished => Wire::Finished,
    };
    serde_json::to_vec(&wire).map_err(|error| match failure.take() {
        Some(error) => DeploymentError::Secrets(error),
        None => DeploymentError::Write(error.into()),
    })
}

/// Decodes an entry. `at` names it in messages.
pub(crate) fn decode_entry(
    at: &str,
    text: &[u8],
    secrets: &SecretsManager,
) -> Result<JournalEntry, DeploymentError> {
    let failure = Failure::default();
    let decoder = Decoder {
        secrets: Ok(secrets),
        locked: Locked::Refuse,
        place: Default::default(),
        failure: &failure,
    };
    let wire: Wire<&RawValue, &RawValue> =
        serde_json::from_slice(text).map_err(|source| DeploymentError::Json {
            at: at.to_owned(),
            source,
        })?;
    let resource =
        |raw: &RawValue| decode_resource(at.to_owned(), raw.get(), decoder).map(Arc::new);
    Ok(match wire {
        Wire::Begin {
            step,
            kind,
            resource: raw,
            key,
        } => JournalEntry::Begin {
            step,
            kind: find_pending_kind(&kind).ok_or_else(|| DeploymentError::Shape {
                at: at.to_owned(),
                what: format!("`{kind}` is no operation"),
            })?,
            resource: resource(raw)?,
            idempotency_key: key,
        },
        Wire::Done { step, remove, add } => JournalEntry::Done {
            step,
            remove: remove.into_iter().map(EntryId).collect(),
            add: match add {
                Some((id, raw)) => Some((EntryId(id), resource(raw)?)),
                None => None,
            },
        },
        Wire::Failed { step, unresolved } => JournalEntry::Failed { step, unresolved },
        Wire::Keep(entry) => JournalEntry::Keep {
            entry: EntryId(entry),
        },
        Wire::Outputs { entry, outputs } => JournalEntry::Outputs {
            entry: EntryId(entry),
            outputs: decode_properties(outputs.get(), decoder.within("", "outputs")).map_err(
                |source| match failure.take() {
                    Some(error) => DeploymentError::Secrets(error),
                    None => DeploymentError::Json {
                        at: at.to_owned(),
                        source,
                    },
                },
            )?,
        },
        Wire::Resolved(pending) => JournalEntry::Resolved { pending },
        Wire::Finished => JournalEntry::Finished,
    })
}

#[cfg(test)]
mod tests;
