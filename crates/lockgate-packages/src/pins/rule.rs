//! Which tag of a repository a pin takes.

use std::time::Duration;

use regex::{Regex, RegexBuilder};
use semver::{BuildMetadata, Prerelease, Version, VersionReq};

use super::age;

/// Names of the rules.
pub const RULES: [&str; 4] = ["digest", "semver", "numeric", "alpha"];

/// Memory of one compiled filter.
const FILTER_BYTES_MAX: usize = 1024 * 1024;

/// A checked rule.
#[derive(Clone, Debug)]
pub struct PinRule {
    kind: Kind,
    range: Option<(String, VersionReq)>,
    filter: Option<Regex>,
    extract: Option<String>,
    min_age: Option<(String, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The tag of the reference.
    Digest,
    /// The highest version in the range.
    Semver,
    /// The highest whole number.
    Numeric,
    /// The last in byte order.
    Alpha,
}

impl PinRule {
    /// Checks a rule as written; an error is the property and what is wrong with it.
    ///
    /// `filter` is a regular expression that tags must match; `extract` makes of its groups
    /// (`$1`, `${name}`) the text that is compared in place of the tag.
    pub fn new(
        name: &str,
        range: Option<&str>,
        filter: Option<&str>,
        extract: Option<&str>,
    ) -> Result<Self, (&'static str, String)> {
        let kind = match name {
            "digest" => Kind::Digest,
            "semver" => Kind::Semver,
            "numeric" => Kind::Numeric,
            "alpha" => Kind::Alpha,
            other => {
                let reason = format!("`{other}` is no rule, expected one of {}", RULES.join(", "));
                return Err(("rule", reason));
            }
        };
        if range.is_some() && kind != Kind::Semver {
            return Err(("range", format!("has no meaning for rule `{name}`")));
        }
        if filter.is_some() && kind == Kind::Digest {
            return Err(("filter", "has no meaning for rule `digest`".to_owned()));
        }
        if extract.is_some() && filter.is_none() {
            return Err(("extract", "needs a `filter` with groups".to_owned()));
        }
        let range = match (kind, range) {
            (Kind::Semver, None) => Some("*"),
            (_, range) => range,
        };
        let range = range.map(|text| {
            let parsed = VersionReq::parse(text);
            parsed
                .map(|parsed| (text.to_owned(), parsed))
                .map_err(|error| {
                    let reason = format!("`{text}` is no range such as `^1.4`: {error}");
                    ("range", reason)
                })
        });
        let filter = filter.map(|text| {
            let compiled = RegexBuilder::new(text).size_limit(FILTER_BYTES_MAX).build();
            compiled.map_err(|error| ("filter", format!("is no regular expression: {error}")))
        });
        Ok(Self {
            kind,
            range: range.transpose()?,
            filter: filter.transpose()?,
            extract: extract.map(str::to_owned),
            min_age: None,
        })
    }

    /// The same rule for images that were created at least this long ago: `72h`, `7d`, `2w`.
    pub fn with_min_age(mut self, text: Option<&str>) -> Result<Self, (&'static str, String)> {
        let Some(text) = text else { return Ok(self) };
        let age = age::parse(text).ok_or_else(|| {
            let reason = format!(
                "`{text}` is no age, expected for example `72h`, `7d` or `2w`, at most a year"
            );
            ("minAge", reason)
        })?;
        self.min_age = Some((text.to_owned(), age));
        Ok(self)
    }

    /// The rule's name.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Digest => "digest",
            Kind::Semver => "semver",
            Kind::Numeric => "numeric",
            Kind::Alpha => "alpha",
        }
    }

    /// The range of `semver` as written; `*` when none was.
    pub fn range(&self) -> Option<&str> {
        self.range.as_ref().map(|(text, _)| text.as_str())
    }

    /// The filter as written.
    pub fn filter(&self) -> Option<&str> {
        self.filter.as_ref().map(Regex::as_str)
    }

    /// The template as written.
    pub fn extract(&self) -> Option<&str> {
        self.extract.as_deref()
    }

    /// How old an image must be.
    pub fn min_age(&self) -> Option<Duration> {
        self.min_age.as_ref().map(|(_, age)| *age)
    }

    /// That age as written.
    pub fn min_age_text(&self) -> Option<&str> {
        self.min_age.as_ref().map(|(text, _)| text.as_str())
    }

    /// Whether it chooses among the tags of the repository.
    pub fn needs_tags(&self) -> bool {
        self.kind != Kind::Digest
    }

    /// The tags that fit, the one to take first; an error says why there is none. Of tags that
    /// compare equal the longer one comes first (`1.4.0` before `1.4`), then the last in byte
    /// order, so that the choice does not depend on the order of the list.
    pub fn ranked(&self, tags: &[String]) -> Result<Vec<String>, String> {
        let candidates: Vec<(&String, String)> = tags
            .iter()
            .filter_map(|tag| Some((tag, self.subject(tag)?)))
            .collect();
        if candidates.is_empty() {
            return Err(match self.filter() {
                Some(filter) => format!("none of {} tags matches `{filter}`", tags.len()),
                None => "there are no tags".to_owned(),
            });
        }
        let ranked = match (&self.range, self.kind) {
            (Some((_, range)), _) => rank(&candidates, |text| {
                version(text).filter(|version| range.matches(version))
            }),
            (None, Kind::Numeric) => rank(&candidates, |text| text.parse::<u128>().ok()),
            (None, _) => rank(&candidates, |text| Some(text.to_owned())),
        };
        if !ranked.is_empty() {
            return Ok(ranked);
        }
        Err(match self.range() {
            Some(range) => format!(
                "none of {} tags is a version in `{range}`",
                candidates.len()
            ),
            None => format!("none of {} tags is a whole number", candidates.len()),
        })
    }

    /// What of a tag is compared; `None` when it is filtered out.
    fn subject(&self, tag: &str) -> Option<String> {
        let Some(filter) = &self.filter else {
            return Some(tag.to_owned());
        };
        let groups = filter.captures(tag)?;
        let Some(template) = &self.extract else {
            return Some(tag.to_owned());
        };
        let mut text = String::new();
        groups.expand(template, &mut text);
        Some(text)
    }
}

/// Tags whose subject can be read, the highest first.
fn rank<T: Ord>(candidates: &[(&String, String)], read: impl Fn(&str) -> Option<T>) -> Vec<String> {
    let found = candidates
        .iter()
        .filter_map(|(tag, subject)| Some((read(subject)?, tag.len(), *tag)));
    let mut found: Vec<_> = found.collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, _, tag)| tag.clone()).collect()
}

/// A version as tags write it: `v` in front and a missing third number are accepted. One number
/// alone is no version but a tag that moves.
fn version(text: &str) -> Option<Version> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let (core, pre) = text.split_once('-').map_or((text, ""), |(c, p)| (c, p));
    let digits = |part: &str| {
        let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse::<u64>().ok()).flatten()
    };
    let numbers: Vec<u64> = core.split('.').map(digits).collect::<Option<_>>()?;
    let (major, minor, patch) = match numbers[..] {
        [major, minor] => (major, minor, 0),
        [major, minor, patch] => (major, minor, patch),
        _ => return None,
    };
    Some(Version {
        major,
        minor,
        patch,
        pre: Prerelease::new(pre).ok()?,
        build: BuildMetadata::EMPTY,
    })
}

#[cfg(test)]
mod tests;
