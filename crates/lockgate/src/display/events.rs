//! Engine events as JSON, one object a line: `sequence`, `timestamp` (unix seconds) and exactly
//! one event, in the field's own shape (engine guide, section 14). Secrets are masked here.

use std::collections::BTreeMap;

use lockgate_diag::REDACTED;
use lockgate_engine::event::{EngineEvent, RunResult, StepEvent, StepState};
use lockgate_engine::provider::{DiffKind, PropertyDiff};
use lockgate_model::value::{ArchiveSource, AssetSource};
use lockgate_model::{PropertyMap, Timestamp, Value};
use serde_json::{Map, Value as Json, json};

/// One event as a JSON object.
pub(crate) fn to_json(event: &EngineEvent, sequence: u64, at: Timestamp) -> Json {
    let (name, body) = match event {
        EngineEvent::Prelude { config } => {
            let config: Map<String, Json> =
                config.iter().map(|(k, v)| (k.clone(), value(v))).collect();
            ("preludeEvent", json!({ "config": config }))
        }
        EngineEvent::StepStart(step) => ("resourcePreEvent", json!({ "metadata": metadata(step) })),
        EngineEvent::StepDone(step) => ("resOutputsEvent", json!({ "metadata": metadata(step) })),
        EngineEvent::StepFailed { step, diagnostic } => (
            "resOpFailedEvent",
            json!({
                "metadata": metadata(step), "status": 1, "steps": 1,
                "diagnostic": lockgate_diag::to_json(diagnostic),
            }),
        ),
        EngineEvent::Message {
            severity,
            urn,
            text,
            ephemeral,
        } => (
            "diagnosticEvent",
            json!({
                "urn": urn.as_ref().map(ToString::to_string), "message": text, "color": "never",
                "severity": severity.as_str(), "ephemeral": ephemeral,
            }),
        ),
        EngineEvent::Diagnostic(diagnostic) => (
            "diagnosticEvent",
            json!({
                "message": diagnostic.message, "color": "never",
                "severity": diagnostic.severity.as_str(),
                "diagnostic": lockgate_diag::to_json(diagnostic),
            }),
        ),
        EngineEvent::Summary(summary) => (
            "summaryEvent",
            json!({
                "maybeCorrupt": false, "durationSeconds": summary.duration.as_secs(),
                "resourceChanges": summary.changes, "PolicyPacks": {},
                "isPreview": summary.preview, "result": result(summary.result),
            }),
        ),
    };
    json!({ "sequence": sequence, "timestamp": at.as_secs(), name: body })
}

/// The word of a run's end.
pub(crate) const fn result(result: RunResult) -> &'static str {
    match result {
        RunResult::Succeeded => "succeeded",
        RunResult::Failed => "failed",
        RunResult::Canceled => "canceled",
    }
}

fn metadata(step: &StepEvent) -> Json {
    json!({
        "op": step.op.as_str(), "urn": step.urn.as_str(), "type": step.urn.type_token(),
        "old": step.old.as_ref().map(|s| side(step, s)),
        "new": step.new.as_ref().map(|s| side(step, s)),
        "keys": step.replace_keys, "diffs": step.diff_keys, "logical": step.logical,
        "detailedDiff": step.detailed_diff.as_ref().map(detail), "provider": "",
    })
}

fn side(step: &StepEvent, state: &StepState) -> Json {
    json!({
        "type": step.urn.type_token(), "urn": step.urn.as_str(), "id": step.id,
        "parent": state.parent.as_ref().map(ToString::to_string),
        "protect": state.protect, "inputs": map(&state.inputs), "outputs": map(&state.outputs),
        "hideDiffs": state.hide_diffs,
    })
}

fn detail(diffs: &BTreeMap<String, PropertyDiff>) -> Json {
    let entries: Map<String, Json> = diffs
        .iter()
        .map(|(path, diff)| {
            let kind = match diff.kind {
                DiffKind::Add => "add",
                DiffKind::AddReplace => "add-replace",
                DiffKind::Delete => "delete",
                DiffKind::DeleteReplace => "delete-replace",
                DiffKind::Update => "update",
                DiffKind::UpdateReplace => "update-replace",
            };
            (
                path.clone(),
                json!({ "diffKind": kind, "inputDiff": diff.input }),
            )
        })
        .collect();
    Json::Object(entries)
}

/// Properties as JSON with secrets masked.
pub(crate) fn map(properties: &PropertyMap) -> Json {
    Json::Object(
        properties
            .iter()
            .map(|(k, v)| (k.clone(), value(v)))
            .collect(),
    )
}

/// A value as JSON with secrets masked and unknowns as null.
pub(crate) fn value(v: &Value) -> Json {
    match v {
        Value::Null | Value::Unknown => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Number(n) => number(*n),
        Value::String(s) => json!(s),
        Value::List(items) => Json::Array(items.iter().map(value).collect()),
        Value::Map(m) => map(m),
        Value::Secret(_) => json!(REDACTED),
        Value::Asset(asset) => {
            let (kind, text) = match &asset.source {
                AssetSource::Text(text) => ("text", text),
                AssetSource::Path(path) => ("path", path),
                AssetSource::Uri(uri) => ("uri", uri),
            };
            json!({ "asset": { kind: text, "hash": asset.hash } })
        }
        Value::Archive(archive) => {
            let source = match &archive.source {
                ArchiveSource::Assets(assets) => json!({ "assets": map(assets) }),
                ArchiveSource::Path(path) => json!({ "path": path }),
                ArchiveSource::Uri(uri) => json!({ "uri": uri }),
            };
            json!({ "archive": source, "hash": archive.hash })
        }
        Value::Reference(reference) => json!({ "urn": reference.urn.as_str(), "id": reference.id }),
    }
}

/// A number without a needless fraction, as programs wrote it.
fn number(n: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() < EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "checked to be whole and exact above"
        )]
        let whole = n as i64;
        json!(whole)
    } else {
        json!(n)
    }
}
