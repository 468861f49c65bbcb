//! The page's arithmetic and wording.

use super::*;

fn buckets(counts: &[(usize, u64)]) -> Buckets {
    let mut buckets = Buckets::default();
    for (bucket, count) in counts {
        buckets[*bucket] = *count;
    }
    buckets
}

#[test]
fn a_percentile_is_the_bound_of_the_bucket_that_holds_its_rank() {
    let mixed = buckets(&[(0, 50), (3, 45), (9, 5)]);
    for (percent, bound, text) in [
        (50, Bound::AtMost(1), "≤ 1 ms"),
        (51, Bound::AtMost(30), "≤ 30 ms"),
        (95, Bound::AtMost(30), "≤ 30 ms"),
        (96, Bound::Over(10_000), "> 10 s"),
    ] {
        assert_eq!(Bound::of(&mixed, percent), Some(bound), "p{percent}");
        assert_eq!(bound.to_string(), text);
    }
    assert_eq!(
        Bound::of(&buckets(&[(6, 1)]), 50),
        Some(Bound::AtMost(1000))
    );
    assert_eq!(Bound::AtMost(1000).to_string(), "≤ 1 s");
    assert_eq!(bound_text(&Buckets::default(), 95), "–");
    assert_eq!(Bound::Over(10_000).height_ms(), 30_000);
}

#[test]
fn numbers_read_well() {
    for (count, text) in [
        (0, "0"),
        (999, "999"),
        (1204, "1,204"),
        (1_000_000, "1,000,000"),
    ] {
        assert_eq!(count_text(count), text);
    }
    for (requests, seconds, text) in [
        (0, 60, "0.00"),
        (1, 60, "0.02"),
        (599, 60, "9.98"),
        (1234, 60, "20.6"),
        (5999, 60, "100"),
        (90_000, 60, "1,500"),
        (5, 0, "5.00"),
    ] {
        assert_eq!(
            rate_text(requests, seconds),
            text,
            "{requests} in {seconds} s"
        );
    }
    for (part, whole, text) in [
        (0, 0, "0.0 %"),
        (1, 10_000, "< 0.1 %"),
        (1, 200, "0.5 %"),
        (7, 7, "100.0 %"),
    ] {
        assert_eq!(share_text(part, whole), text);
    }
    assert_eq!(
        moment_text(Timestamp(1_795_892_403_500_000_000)),
        "2026-11-28 19:00:03"
    );
    assert_eq!(minute_text(1_795_892_403 / 60), "19:00");
}
