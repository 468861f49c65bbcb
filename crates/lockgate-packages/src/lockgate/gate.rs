//! `lockgate:image:Gate`: hands a reference on only after every check passed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CheckFailure, CreateRequest, CreateResponse, DiffChanges, DiffKind, DiffRequest,
    DiffResponse, PropertyDiff, ProviderError, UpdateRequest,
};
use lockgate_model::{Digest, ImageReference, PropertyMap, Value};

use super::images_failed;
use crate::bag;
use crate::check::failure;
use crate::hash::hash_file;
use crate::images::{GateReport, GateRequest, Images};
use crate::package::Kind;

/// Findings that a failure repeats; the rest are counted.
const FINDINGS_SHOWN: usize = 20;

/// The resource type.
pub(super) struct Gate {
    pub(super) images: Arc<dyn Images>,
    pub(super) project_dir: PathBuf,
}

impl Gate {
    fn ignore_file(&self, inputs: &PropertyMap) -> Option<PathBuf> {
        let path = bag::text(inputs, "ignoreFile")?;
        Some(self.project_dir.join(path))
    }

    /// Checks the image and adds what follows; an image that is not known changes nothing.
    async fn outputs(
        &self,
        inputs: &PropertyMap,
        mut outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        if inputs.values().any(Value::contains_unknown) {
            return Ok(outputs);
        }
        let image = bag::text(inputs, "image").unwrap_or_default().to_owned();
        let digest = digest_of(&image).map_err(ProviderError::failed)?;
        let ignore_file = self.ignore_file(inputs);
        let request = GateRequest {
            secrets: bag::boolean(inputs, "secrets").unwrap_or(true),
            size_bytes_max: bag::unsigned(inputs, "maxSizeBytes"),
            non_root: bag::boolean(inputs, "nonRoot").unwrap_or(false),
            ignore_file: ignore_file.clone(),
        };
        let report = self.images.check_gate(&digest, &request).await;
        let report = report.map_err(images_failed)?;
        if report.checks.iter().any(|check| !check.findings.is_empty()) {
            return Err(refusal(&image, &report));
        }
        if let Some(path) = ignore_file {
            outputs.insert("ignoreHash".into(), hash(&path)?.into());
        }
        outputs.insert("report".into(), report_value(&report));
        outputs.insert("digest".into(), digest.to_string().into());
        outputs.insert("ref".into(), image.into());
        Ok(outputs)
    }
}

fn hash(path: &Path) -> Result<String, ProviderError> {
    hash_file(path).map_err(|error| ProviderError::failed(error.to_string()))
}

fn digest_of(image: &str) -> Result<Digest, String> {
    let reference = ImageReference::parse(image).map_err(|error| error.to_string())?;
    reference.digest.ok_or_else(|| {
        format!(
            "`{reference}` has no digest, expected for example the `ref` of a `lockgate:image:Pin`"
        )
    })
}

fn refusal(image: &str, report: &GateReport) -> ProviderError {
    let failed = report
        .checks
        .iter()
        .filter(|check| !check.findings.is_empty());
    let names: Vec<String> = failed
        .clone()
        .map(|check| format!("`{}`", check.name))
        .collect();
    let mut lines = vec![format!("image `{image}` did not pass {}", names.join(", "))];
    let findings: Vec<&String> = failed.flat_map(|check| &check.findings).collect();
    lines.extend(findings.iter().take(FINDINGS_SHOWN).map(|f| (*f).clone()));
    if let Some(more) = findings
        .len()
        .checked_sub(FINDINGS_SHOWN)
        .filter(|n| *n > 0)
    {
        lines.push(format!("and {more} more"));
    }
    ProviderError::Failed {
        message: lines.join("\n"),
        hints: vec!["fix what was found, or list it with reason and expiry in `ignoreFile`".into()],
    }
}

fn report_value(report: &GateReport) -> Value {
    let check = |check: &crate::images::GateCheck| {
        let fields: PropertyMap = [
            ("passed".to_owned(), Value::Bool(check.findings.is_empty())),
            ("ignored".to_owned(), bag::number(check.ignored)),
        ]
        .into();
        (check.name.clone(), Value::Map(fields))
    };
    Value::Map(report.checks.iter().map(check).collect())
}

#[async_trait]
impl Kind for Gate {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        let mut failures = Vec::new();
        if let Some(Err(reason)) = bag::text(inputs, "image").map(digest_of) {
            failures.push(failure("image", reason));
        }
        if let Some(most) = bag::integer(inputs, "maxSizeBytes").filter(|n| *n < 1) {
            failures.push(failure(
                "maxSizeBytes",
                format!("expected at least 1, found {most}"),
            ));
        }
        failures
    }

    async fn diff(
        &self,
        _ctx: &CallContext,
        req: &DiffRequest,
        mut found: DiffResponse,
    ) -> Result<DiffResponse, ProviderError> {
        // The file is named in the inputs, but what it says decides.
        if let Some(path) = self.ignore_file(&req.inputs)
            && bag::text(&req.old_outputs, "ignoreHash") != Some(&hash(&path)?)
        {
            let difference = PropertyDiff {
                kind: DiffKind::Update,
                input: true,
            };
            let detailed = found.detailed.get_or_insert_default();
            detailed.entry("ignoreFile".into()).or_insert(difference);
            found.changes = DiffChanges::Some;
        }
        Ok(found)
    }

    async fn create(
        &self,
        _ctx: &CallContext,
        req: CreateRequest,
    ) -> Result<CreateResponse, ProviderError> {
        let outputs = self.outputs(&req.inputs, req.inputs.clone()).await?;
        let id = bag::text(&outputs, "digest").unwrap_or_default().to_owned();
        Ok(CreateResponse { id, outputs })
    }

    async fn foretell_create(
        &self,
        _ctx: &CallContext,
        req: &CreateRequest,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(&req.inputs, outputs).await
    }

    async fn update(
        &self,
        _ctx: &CallContext,
        req: UpdateRequest,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(&req.inputs, req.inputs.clone()).await
    }

    async fn foretell_update(
        &self,
        _ctx: &CallContext,
        req: &UpdateRequest,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(&req.inputs, outputs).await
    }
}
