//! Unbiased draws from a source of random bytes, and a repeatable source made from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use lockgate_model::{Digest, Rng};

/// A number below `bound`, each equally likely. `bound` must not be 0.
///
/// Numbers of the last, incomplete run of `bound` are drawn again: taking the remainder of them
/// would make small results more likely.
pub(super) fn below(rng: &dyn Rng, bound: u64) -> u64 {
    let excess = (u64::MAX % bound + 1) % bound;
    loop {
        let drawn = rng.next_u64();
        if drawn <= u64::MAX - excess {
            return drawn % bound;
        }
    }
}

/// An index of a list of `length` items, which must not be 0.
pub(super) fn index(rng: &dyn Rng, length: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the result is below a usize"
    )]
    let index = below(rng, length as u64) as usize;
    index
}

/// Puts `items` into a random order, each equally likely (Fisher and Yates).
pub(super) fn shuffle<T>(rng: &dyn Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, index(rng, last + 1));
    }
}

/// Random bytes.
pub(super) fn bytes(rng: &dyn Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes
}

/// A source that repeats itself for the same seed: SHA-256 of the seed's hash and a counter.
pub(super) struct Seeded {
    seed: Digest,
    block: AtomicU64,
}

impl Seeded {
    pub(super) fn new(seed: &str) -> Self {
        Self {
            seed: Digest::of(seed.as_bytes()),
            block: AtomicU64::new(0),
        }
    }
}

impl Rng for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let block = self.block.fetch_add(1, Ordering::Relaxed);
            let input = [self.seed.as_bytes().as_slice(), &block.to_le_bytes()].concat();
            let hash = Digest::of(&input);
            chunk.copy_from_slice(&hash.as_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_bound_is_about_equally_likely() {
        let rng = Seeded::new("draw");
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[index(&rng, 7)] += 1;
        }
        // Five standard deviations of a binomial with n = 70000 and p = 1/7 are 463.
        assert!(
            counts.iter().all(|c| c.abs_diff(10_000) < 463),
            "{counts:?}"
        );
    }

    #[test]
    fn the_incomplete_last_run_is_drawn_again() {
        struct Script(AtomicU64);
        impl Rng for Script {
            fn fill(&self, buffer: &mut [u8]) {
                // First the highest number, which lies in the incomplete run of 3; then 4.
                let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
                let number = if first { u64::MAX } else { 4 };
                buffer.copy_from_slice(&number.to_le_bytes());
            }
        }
        // 2^64 - 1 is a multiple of 3, so exactly one number is in excess.
        assert_eq!(below(&Script(AtomicU64::new(0)), 3), 1);
    }
}
