//! "Did you mean …": the nearest known word to a mistyped one.

/// The candidate nearest to `word`, if it is near enough to be a likely typing error.
///
/// Distance is Damerau-Levenshtein without regard to case; at most a third of the word may
/// differ, and never more than three edits. Ties go to the first candidate.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = (lower.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&lower, &c.to_lowercase()), c))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_offered_and_far_ones_are_not() {
        let known = ["options", "properties", "type"];
        assert_eq!(did_you_mean("optoins", known), Some("options"));
        assert_eq!(did_you_mean("Typ", known), Some("type"));
        assert_eq!(did_you_mean("zebra", known), None);
    }
}
