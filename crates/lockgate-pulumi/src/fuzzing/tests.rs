//! The seeds of every target, without a fuzzer.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn values_survive_the_wire() {
    replay("pulumi_value", super::value);
}

#[test]
fn property_bags_are_decoded_or_refused() {
    replay("pulumi_properties", super::properties);
}

#[test]
fn requests_are_taken_or_refused() {
    replay("pulumi_request", super::request);
}

#[test]
fn durations_are_finite() {
    replay("pulumi_duration", super::duration);
}
