//! Target patterns: URNs, with `*` for anything within a part and `**` for anything.

use lockgate_model::Urn;

/// What a run is about: everything, what some patterns match, everything but what others match.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) targets: Targets,
    pub(crate) excludes: Targets,
}

impl Scope {
    /// The run is about everything.
    pub(crate) fn is_whole(&self) -> bool {
        self.targets.is_empty() && self.excludes.is_empty()
    }

    /// The run may touch this resource, as far as the patterns go.
    pub(crate) fn contains(&self, urn: &Urn) -> bool {
        (self.targets.is_empty() || self.targets.matches(urn)) && !self.excludes.matches(urn)
    }
}

/// A set of patterns.
#[derive(Debug, Default)]
pub(crate) struct Targets(Vec<String>);

impl Targets {
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self(patterns.to_vec())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, urn: &Urn) -> bool {
        self.0
            .iter()
            .any(|pattern| glob(pattern.as_bytes(), urn.as_str().as_bytes()))
    }

    /// Patterns that match none of `urns`.
    pub(crate) fn unmatched<'a>(&'a self, urns: &[Urn]) -> Vec<&'a str> {
        self.0
            .iter()
            .filter(|pattern| {
                !urns
                    .iter()
                    .any(|urn| glob(pattern.as_bytes(), urn.as_str().as_bytes()))
            })
            .map(String::as_str)
            .collect()
    }
}

/// Whether a pattern matches a URN: `*` is anything within a part, `**` anything.
pub fn matches(pattern: &str, urn: &Urn) -> bool {
    glob(pattern.as_bytes(), urn.as_str().as_bytes())
}

/// Matches in O(pattern × text): `rows[i]` says whether the pattern so far matches `i` bytes.
/// A single star may not run over the `:` that separates the parts of a URN.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let mut rows = vec![false; text.len() + 1];
    rows[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let double = pattern[at..].starts_with(b"**");
        let mut next = vec![false; text.len() + 1];
        if pattern[at] == b'*' {
            let mut open = false;
            for i in 0..=text.len() {
                open = rows[i] || (open && (double || text[i - 1] != b':'));
                next[i] = open;
            }
        } else {
            for i in 0..text.len() {
                next[i + 1] = rows[i] && text[i] == pattern[at];
            }
        }
        rows = next;
        at += if double { 2 } else { 1 };
    }
    rows[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_within_a_part_and_double_stars_do_not() {
        let urn = Urn::parse("urn:pulumi:dev::shop::my:mod:Web$a:b:C::name").expect("urn");
        for (pattern, hit) in [
            ("urn:pulumi:dev::shop::my:mod:Web$a:b:C::name", true),
            ("**::name", true),
            ("**", true),
            ("urn:pulumi:dev::shop::**$a:b:C::na*", true),
            ("urn:pulumi:dev::shop::my:*:Web$a:b:C::*", true),
            ("urn:pulumi:dev::shop::*::name", false),
            ("name", false),
        ] {
            let targets = Targets::new(&[pattern.to_owned()]);
            assert_eq!(targets.matches(&urn), hit, "{pattern}");
        }
    }
}
