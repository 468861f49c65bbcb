//! Numbers of the page, and how they are written. Pure.

use lockgate_control::{LATENCY_BOUNDS_MS, Rollup};
use lockgate_model::Timestamp;

/// Counts per latency bucket.
pub(super) type Buckets = [u64; LATENCY_BOUNDS_MS.len() + 1];

/// What a percentile is known to be: roll-ups keep buckets, so it is a bound and not a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// At most this many milliseconds.
    AtMost(u64),
    /// More than the last bound.
    Over(u64),
}

impl Bound {
    /// The percentile of `percent` (1 to 100); `None` without requests.
    pub(super) fn of(buckets: &Buckets, percent: u64) -> Option<Self> {
        let total: u64 = buckets.iter().sum();
        // The rank, rounded up: of ten requests, p95 is the tenth.
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let last = LATENCY_BOUNDS_MS[LATENCY_BOUNDS_MS.len() - 1];
                let bound = LATENCY_BOUNDS_MS.get(index).copied();
                return Some(bound.map_or(Self::Over(last), Self::AtMost));
            }
        }
        None
    }

    /// Where a chart draws it, milliseconds; what has no bound stands above the last one.
    pub(super) fn height_ms(self) -> u64 {
        match self {
            Self::AtMost(ms) => ms,
            Self::Over(ms) => ms * 3,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, ms) = match *self {
            Self::AtMost(ms) => ('≤', ms),
            Self::Over(ms) => ('>', ms),
        };
        if ms < 1000 {
            write!(f, "{sign} {ms} ms")
        } else {
            write!(f, "{sign} {} s", ms / 1000)
        }
    }
}

/// A percentile as text; a dash without requests.
pub(super) fn bound_text(buckets: &Buckets, percent: u64) -> String {
    Bound::of(buckets, percent).map_or_else(|| "–".into(), |bound| bound.to_string())
}

/// A count with its thousands apart: `1,204`.
pub(super) fn count_text(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Requests per second: two decimals below 10, one below 100, none above.
pub(super) fn rate_text(requests: u64, seconds: u64) -> String {
    let hundredths = (requests * 100 + seconds / 2) / seconds.max(1);
    match hundredths {
        0..1000 => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        1000..9_995 => {
            let tenths = (hundredths + 5) / 10;
            format!("{}.{}", tenths / 10, tenths % 10)
        }
        _ => count_text((hundredths + 50) / 100),
    }
}

/// A share with one decimal: `0.4 %`. A share that is not zero never reads as zero.
pub(super) fn share_text(part: u64, whole: u64) -> String {
    let thousandths = (part * 1000 + whole / 2) / whole.max(1);
    if part > 0 && thousandths == 0 {
        return "< 0.1 %".into();
    }
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

/// `2026-11-28 20:41:07`, UTC.
pub(super) fn moment_text(at: Timestamp) -> String {
    let text = Timestamp::from_secs(at.as_secs()).to_string();
    text.trim_end_matches('Z').replace('T', " ")
}

/// `20:41`, UTC, of a minute since the epoch.
pub(super) fn minute_text(minute: i64) -> String {
    let text = Timestamp::from_secs(minute.saturating_mul(60)).to_string();
    text.get(11..16).unwrap_or_default().to_owned()
}

/// Requests, whatever their routes and minutes.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) latency: Buckets,
}

impl Counts {
    pub(super) fn of<'a>(rollups: impl IntoIterator<Item = &'a Rollup>) -> Self {
        let mut counts = Self::default();
        for rollup in rollups {
            counts.requests += rollup.requests;
            counts.errors += rollup.errors;
            for (bucket, count) in counts.latency.iter_mut().zip(rollup.latency) {
                *bucket += count;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests;
