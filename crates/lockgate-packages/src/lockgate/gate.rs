//! `lockgate:image:Gate`: hands a reference on only after every check passed.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::provider::{
    CallContext, CheckFailure, DiffChanges, DiffRequest, DiffResponse, ProviderError,
};
use lockgate_image::OsArch;
use lockgate_image::gate::{Check, GatePolicy, GateReport, Ignore, Verdict};
use lockgate_model::{Digest, PropertyMap, Timestamp, Value};

use super::reader::Reader;
use super::{accept, images_failed, pinned, stored};
use crate::bag;
use crate::check::failure;
use crate::images::Images;
use crate::package::Kind;
use crate::path::index;

/// Findings that a failure repeats; the rest are counted.
const FINDINGS_SHOWN: usize = 20;

/// The resource type.
pub(super) struct Gate {
    pub(super) images: Arc<dyn Images>,
    pub(super) os_arch: OsArch,
}

impl Gate {
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
        let reference = pinned(&image).map_err(ProviderError::failed)?;
        let (ignores, failures) = read_ignores(inputs);
        accept(&failures)?;
        let policy = GatePolicy {
            secrets: bag::boolean(inputs, "secrets").unwrap_or(true),
            max_size_bytes: bag::unsigned(inputs, "maxSizeBytes"),
            non_root: bag::boolean(inputs, "nonRoot").unwrap_or(false),
            by_digest: true,
        };
        // A gate reads every layer.
        let digest = stored(self.images.as_ref(), &reference, &self.os_arch).await?;
        let report = self.images.check_gate(&digest, &policy, &ignores).await;
        let report = report.map_err(images_failed)?;
        if !report.passed {
            let hint = "fix what was found, or accept it for a time with `ignores`";
            return Err(refusal(&image, &report, hint));
        }
        outputs.insert("report".into(), report_value(&report));
        outputs.insert("digest".into(), digest.to_string().into());
        outputs.insert("ref".into(), image.into());
        Ok(outputs)
    }
}

fn read_ignores(inputs: &PropertyMap) -> (Vec<Ignore>, Vec<CheckFailure>) {
    let mut reader = Reader::new(inputs);
    let mut ignores = Vec::new();
    for (i, item) in bag::list(inputs, "ignores").iter().enumerate() {
        let Some(map) = item.as_map() else { continue };
        ignores.push(reader.at(map, index("ignores", i), |r| {
            let text = |name| bag::text(map, name).map(str::to_owned);
            if text("reason").is_some_and(|reason| reason.trim().is_empty()) {
                r.fail("reason", "must not be empty");
            }
            Ignore {
                rule: text("rule").unwrap_or_default(),
                place: text("place"),
                reason: text("reason").unwrap_or_default(),
                expires: text("expires").and_then(|day| read_day(r, &day)),
            }
        }));
    }
    (ignores, reader.failures)
}

/// The start of a day in UTC.
fn read_day(r: &mut Reader<'_>, day: &str) -> Option<Timestamp> {
    let parsed = day.parse::<jiff::civil::Date>().ok();
    let start = parsed.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
    if start.is_none() {
        let reason = format!("`{day}` is no day, expected for example `2027-01-31`");
        r.fail("expires", reason);
    }
    start.map(|start| Timestamp::from_secs(start.timestamp().as_second()))
}

/// The checks that no image should fail, for a push without a gate of its own.
pub(super) async fn check_plain(
    images: &dyn Images,
    image: &str,
    digest: &Digest,
) -> Result<(), ProviderError> {
    let report = images.check_gate(digest, &GatePolicy::default(), &[]).await;
    let report = report.map_err(images_failed)?;
    if report.passed {
        return Ok(());
    }
    let hint = "fix what was found; to accept it for a time, take `push` out and send the image through a `lockgate:image:Gate` with `ignores` to a `lockgate:image:Push`";
    Err(refusal(image, &report, hint))
}

fn refusal(image: &str, report: &GateReport, hint: &str) -> ProviderError {
    let failed = || report.checks.iter().filter(|c| c.verdict != Verdict::Pass);
    let names: Vec<String> = failed().map(|check| format!("`{}`", check.id)).collect();
    let mut lines = vec![format!("image `{image}` did not pass {}", names.join(", "))];
    let findings: Vec<String> = failed()
        .flat_map(|check| &check.findings)
        .filter(|finding| finding.ignored.is_none())
        .map(|finding| format!("{} at {}: {}", finding.rule, finding.place, finding.detail))
        .collect();
    let more = findings.len().saturating_sub(FINDINGS_SHOWN);
    lines.extend(findings.into_iter().take(FINDINGS_SHOWN));
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    ProviderError::Failed {
        message: lines.join("\n"),
        hints: vec![hint.to_owned()],
    }
}

fn report_value(report: &GateReport) -> Value {
    let check = |check: &Check| {
        let ignored = check
            .findings
            .iter()
            .filter(|f| f.ignored.is_some())
            .count();
        let fields: PropertyMap = [
            ("title".to_owned(), check.title.into()),
            ("passed".to_owned(), (check.verdict == Verdict::Pass).into()),
            ("ignored".to_owned(), bag::number(ignored as u64)),
        ]
        .into();
        (check.id.to_owned(), Value::Map(fields))
    };
    Value::Map(report.checks.iter().map(check).collect())
}

#[async_trait]
impl Kind for Gate {
    fn check(&self, _ctx: &CallContext, inputs: &PropertyMap) -> Vec<CheckFailure> {
        let mut failures = Vec::new();
        if let Some(Err(reason)) = bag::text(inputs, "image").map(pinned) {
            failures.push(failure("image", reason));
        }
        if let Some(most) = bag::integer(inputs, "maxSizeBytes").filter(|n| *n < 1) {
            failures.push(failure(
                "maxSizeBytes",
                format!("expected at least 1, found {most}"),
            ));
        }
        failures.extend(read_ignores(inputs).1);
        failures
    }

    async fn diff(
        &self,
        _ctx: &CallContext,
        req: &DiffRequest,
        found: DiffResponse,
    ) -> Result<DiffResponse, ProviderError> {
        // An accepted finding counts again from its day on, without any change of the inputs.
        if found.changes == DiffChanges::None && !bag::list(&req.inputs, "ignores").is_empty() {
            self.outputs(&req.inputs, PropertyMap::new()).await?;
        }
        Ok(found)
    }

    async fn apply(
        &self,
        _ctx: &CallContext,
        inputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(&inputs, inputs.clone()).await
    }

    fn id(&self, _ctx: &CallContext, outputs: &PropertyMap) -> String {
        bag::text(outputs, "digest").unwrap_or_default().to_owned()
    }

    async fn foretell(
        &self,
        _ctx: &CallContext,
        inputs: &PropertyMap,
        outputs: PropertyMap,
    ) -> Result<PropertyMap, ProviderError> {
        self.outputs(inputs, outputs).await
    }
}
