//! How long to wait before an instance is started again.

use std::time::Duration;

/// First wait: long enough that a crash loop does not eat a core.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait: a service that works again is back within it.
const LONGEST: Duration = Duration::from_secs(30);
/// An instance that lived this long was no crash loop, so the next wait is the first one again.
const SETTLED: Duration = Duration::from_secs(60);

/// Doubles from half a second up to half a minute.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self(FIRST)
    }

    /// The wait before the next start.
    pub(crate) fn advance(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        wait
    }

    /// Tells how long the instance had lived.
    pub(crate) fn lived(&mut self, time: Duration) {
        if time >= SETTLED {
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_cap_and_start_over_after_a_long_life() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..8).map(|_| backoff.advance().as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        backoff.lived(SETTLED - Duration::from_millis(1));
        assert_eq!(backoff.advance(), LONGEST);
        backoff.lived(SETTLED);
        assert_eq!(backoff.advance(), FIRST);
    }
}
