//! The limiter against a slow exact model, and under a parallel burst.

use proptest::prelude::*;

use super::*;

fn rate(requests: u64, per: Duration, burst: u64) -> Rate {
    Rate::new(&RateLimitPolicy {
        requests,
        per,
        burst,
    })
    .expect("an enforceable limit")
}

#[test]
fn limits_that_cannot_be_enforced_are_refused() {
    let second = Duration::from_secs(1);
    for (requests, per, burst) in [
        (0, second, 1),
        (1, second, 0),
        (1, Duration::ZERO, 1),
        (PER_SECOND_MAX + 1, second, 1),
        (1, Duration::from_secs(3600), 1_000_000),
    ] {
        let policy = RateLimitPolicy {
            requests,
            per,
            burst,
        };
        assert_eq!(Rate::new(&policy), None, "{policy:?}");
    }
}

#[test]
fn a_parallel_burst_admits_exactly_the_burst() {
    let rate = rate(1, Duration::from_secs(3600), 500);
    let cell = AtomicU64::new(0);
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..1000).filter(|_| rate.take(&cell, 9).is_ok()).count()))
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("no thread panics"))
            .sum()
    });
    assert_eq!(admitted, 500);
}

#[test]
fn steady_excess_gets_the_whole_rate() {
    let rate = rate(300, Duration::from_secs(1), 1);
    let cell = AtomicU64::new(0);
    let admitted = (0..10_000_000_000_u64)
        .step_by(100_000)
        .filter(|now| rate.take(&cell, *now).is_ok())
        .count();
    assert!(
        (2940..=3001).contains(&admitted),
        "{admitted} of 3000 in 10 s"
    );
}

#[test]
fn neighbours_of_one_ipv6_network_share_a_cell() {
    let cells = AnonymousCells::new();
    let at = |text: &str| std::ptr::from_ref(cells.get("r", text.parse().expect("an address")));
    assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
    assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
    assert_eq!(at("::ffff:192.0.2.1"), at("::ffff:192.0.2.1"));
}

#[test]
fn cells_survive_growth() {
    let small = ConsumerCells::default().with_room(1);
    small
        .get(0)
        .expect("in the room")
        .store(42, Ordering::Relaxed);
    let large = small.with_room(1000);
    assert_eq!(
        large.get(0).expect("in the room").load(Ordering::Relaxed),
        42
    );
    assert!(large.get(999).is_some());
    assert!(large.get(100_000).is_none());
}

proptest! {
    /// In every window of the run, admitted ≤ burst + rate × window.
    #[test]
    fn no_window_admits_more_than_burst_and_rate(
        requests in 1_u64..50,
        burst in 1_u64..20,
        gaps in prop::collection::vec(0_u64..100_000_000, 1..200),
    ) {
        let rate = rate(requests, Duration::from_secs(1), burst);
        let cell = AtomicU64::new(0);
        let mut now = 5;
        let mut admitted = Vec::new();
        for gap in gaps {
            now += gap;
            if rate.take(&cell, now).is_ok() {
                admitted.push(now);
            }
        }
        for (i, from) in admitted.iter().enumerate() {
            for (j, to) in admitted.iter().enumerate().skip(i) {
                let count = (j - i + 1) as u128;
                let span = u128::from(to - from);
                prop_assert!(
                    count * 1_000_000_000 <= u128::from(burst) * 1_000_000_000 + u128::from(requests) * span,
                    "{count} within {span} ns"
                );
            }
        }
    }
}
