//! Which engine versions a program accepts: `requiredPulumiVersion` of a project,
//! `pulumi.requiredVersion` of a YAML program.
//!
//! Ranges are those of the original: comparisons joined by blanks hold together, `||` separates
//! alternatives, `x` or a missing part matches anything. `^` and `~` are taken too.

use std::sync::Arc;

use lockgate_diag::codes::program::REQUIRED_VERSION;
use lockgate_diag::{Diagnostic, SourceFile, Span};
use semver::{Version, VersionReq};

/// The version of the original that programs may take this engine for: the newest one whose
/// published SDKs are run against it by the tests.
pub const ENGINE: &str = "3.272.0";

/// Longest range; a bound on the work, far above any that people write.
const RANGE_BYTES_MAX: usize = 1_000;

/// Whether this engine lies in `range`; `None` when it is no range.
fn contains_engine(range: &str) -> Option<bool> {
    let engine = Version::parse(ENGINE).ok()?;
    if range.len() > RANGE_BYTES_MAX {
        return None;
    }
    let mut any = false;
    for alternative in range.split("||") {
        let mut all = true;
        let mut count = 0;
        let mut rest = alternative.trim_matches([' ', ',']);
        while !rest.is_empty() {
            let operator = rest
                .find(|c| !"<>=!^~".contains(c))
                .map(|end| &rest[..end])?;
            // The version may stand apart from its operator.
            let after = rest[operator.len()..].trim_start();
            let end = after.find([' ', ',']).unwrap_or(after.len());
            all &= compare(operator, &after[..end], &engine)?;
            count += 1;
            rest = after[end..].trim_start_matches([' ', ',']);
        }
        if count == 0 {
            return None;
        }
        any |= all;
    }
    Some(any)
}

fn compare(operator: &str, version: &str, engine: &Version) -> Option<bool> {
    let (operator, negated) = match operator {
        "" | "=" | "==" => ("=", false),
        "!" | "!=" => ("=", true),
        "<" | "<=" | ">" | ">=" | "^" | "~" => (operator, false),
        _ => return None,
    };
    let version = version.strip_prefix('v').unwrap_or(version);
    if version.is_empty() {
        return None;
    }
    // A lone wildcard takes no operator in the grammar of the crate.
    let text = match version {
        "*" | "x" | "X" => "*".to_owned(),
        _ => format!("{operator}{version}"),
    };
    let matches = VersionReq::parse(&text).ok()?.matches(engine);
    Some(matches != negated)
}

/// Reports a `field` whose `range` is malformed or leaves this engine out.
pub fn check(
    field: &str,
    range: &str,
    file: &Arc<SourceFile>,
    span: Span,
) -> Result<(), Box<Diagnostic>> {
    let (message, hint) = match contains_engine(range) {
        Some(true) => return Ok(()),
        Some(false) => (
            format!("`{field}` is `{range}`, this engine stands for version {ENGINE}"),
            format!("widen the range, for example `>={ENGINE}`, or use an engine inside it"),
        ),
        None => (
            format!("`{field}` must be a version range, found `{range}`"),
            "write a range like `>=3.100.0` or `>=3.100.0 <4.0.0`".to_owned(),
        ),
    };
    Err(Box::new(
        Diagnostic::error(REQUIRED_VERSION, message)
            .at(file, span, "")
            .hint(hint),
    ))
}

#[cfg(test)]
mod tests {
    use super::contains_engine;

    #[test]
    fn ranges_are_read_as_the_original_reads_them() {
        for (range, expected) in [
            (">=3.0.0", Some(true)),
            (">= 3.0.0 <4.0.0", Some(true)),
            (">=3.0.0,<4.0.0", Some(true)),
            (">=3.0.0 <3.100.0", Some(false)),
            (">=4.0.0", Some(false)),
            ("3.272.0", Some(true)),
            ("=3.272.0", Some(true)),
            ("v3.272.0", Some(true)),
            ("3.1.0", Some(false)),
            ("3.x", Some(true)),
            ("3", Some(true)),
            ("2.x || 3.x", Some(true)),
            ("2.x || >=4", Some(false)),
            ("!=3.272.0", Some(false)),
            ("!3.0.0", Some(true)),
            ("^3.100", Some(true)),
            ("~3.100", Some(false)),
            ("*", Some(true)),
            ("", None),
            ("||", None),
            (">=", None),
            ("=>3.0.0", None),
            ("latest", None),
            (">=3.0.0 banana", None),
            ("3.0.0 ||", None),
        ] {
            assert_eq!(contains_engine(range), expected, "{range}");
        }
    }
}
