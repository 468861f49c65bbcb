//! Whether an image has been out long enough to be adopted.

use std::time::Duration;

use lockgate_model::Timestamp;

/// There were no container images before Docker's first release, 2013-03-13: an earlier date is
/// the constant of a reproducible build and tells no age.
const EARLIEST: Timestamp = Timestamp::from_secs(1_363_132_800);
/// Longest age that can be asked for.
const AGE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A tag that is not taken for its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Young {
    /// The tag.
    pub tag: String,
    /// From when on it is taken; `None` if its date tells no age.
    pub until: Option<Timestamp>,
}

impl std::fmt::Display for Young {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.until {
            Some(until) => write!(f, "`{}` is too young until {until}", self.tag),
            None => write!(f, "`{}` has no date that tells its age", self.tag),
        }
    }
}

/// An age such as `72h`, `7d` or `2w`.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let hours = match unit {
        "h" => 1,
        "d" => 24,
        "w" => 7 * 24,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(hours * 3600)?;
    let age = Duration::from_secs(seconds);
    (!age.is_zero() && age <= AGE_MAX).then_some(age)
}

/// `Ok` if what was created then is `age` old now, else from when on it is. A date in the future,
/// a constant one and none at all are not old enough.
pub(super) fn check(
    created: Option<Timestamp>,
    age: Duration,
    now: Timestamp,
) -> Result<(), Option<Timestamp>> {
    let created = created.filter(|created| *created >= EARLIEST).ok_or(None)?;
    let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    let until = Timestamp(created.0.saturating_add(age));
    if now >= until {
        Ok(())
    } else {
        Err(Some(until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_a_number_and_a_unit() {
        let hours = |n: u64| Some(Duration::from_secs(n * 3600));
        for (text, age) in [
            ("72h", hours(72)),
            ("7d", hours(168)),
            ("2w", hours(336)),
            ("366d", hours(8_784)),
        ] {
            assert_eq!(parse(text), age, "{text}");
        }
        for text in [
            "",
            "0d",
            "3",
            "d",
            "1.5d",
            "-1d",
            "3 d",
            "367d",
            "99999999999999999999d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_date_that_can_be_one_counts() {
        let now = Timestamp::from_secs(1_800_000_000);
        let day = Duration::from_secs(86_400);
        let at = |seconds| Some(Timestamp::from_secs(seconds));
        for (created, expected) in [
            (at(1_800_000_000 - 86_400), Ok(())),
            (at(1_800_000_000 - 86_399), Err(at(1_800_000_001))),
            (at(1_800_000_001), Err(at(1_800_086_401))),
            (at(EARLIEST.as_secs() - 1), Err(None)),
            (at(315_532_800), Err(None)),
            (None, Err(None)),
        ] {
            assert_eq!(check(created, day, now), expected, "{created:?}");
        }
    }
}
