//! A report as a table for people and as JSON for programs.

use serde_json::{Value, json};

use super::{GateReport, Verdict};

/// Findings shown per check; the JSON form has all.
const SHOWN_MAX: usize = 20;

impl Verdict {
    /// Stable word for JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::CannotEvaluate => "cannot evaluate",
        }
    }
}

/// A table: one line per check, its findings below.
pub fn render_table(report: &GateReport) -> String {
    let mut out = format!(
        "image {}: {}\n",
        report.digest,
        if report.passed { "passed" } else { "refused" }
    );
    let width = report.checks.iter().map(|c| c.id.len()).max().unwrap_or(0);
    for check in &report.checks {
        out.push_str(&format!(
            "  {:<width$}  {:<15}  {}\n",
            check.id,
            check.verdict.as_str(),
            check.title
        ));
        for finding in check.findings.iter().take(SHOWN_MAX) {
            let ignored = finding
                .ignored
                .as_ref()
                .map(|reason| format!(" [ignored: {reason}]"))
                .unwrap_or_default();
            out.push_str(&format!(
                "    {}: {}: {}{ignored}\n",
                finding.rule, finding.place, finding.detail
            ));
        }
        if check.findings.len() > SHOWN_MAX {
            out.push_str(&format!(
                "    and {} more\n",
                check.findings.len() - SHOWN_MAX
            ));
        }
    }
    out
}

/// JSON, version 1: `{version, digest, passed, checks: [{id, title, verdict, findings}]}`.
pub fn render_json(report: &GateReport) -> Value {
    let checks: Vec<Value> = report
        .checks
        .iter()
        .map(|check| {
            let findings: Vec<Value> = check
                .findings
                .iter()
                .map(|f| json!({"rule": f.rule, "place": f.place, "detail": f.detail, "ignored": f.ignored}))
                .collect();
            json!({"id": check.id, "title": check.title, "verdict": check.verdict.as_str(), "findings": findings})
        })
        .collect();
    json!({"version": 1, "digest": report.digest.to_string(), "passed": report.passed, "checks": checks})
}
