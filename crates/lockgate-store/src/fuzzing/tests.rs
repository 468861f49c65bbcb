//! The seeds of every target, without a fuzzer.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn entries_have_one_body() {
    replay("store_entry", super::entry);
}

#[test]
fn damage_takes_only_what_it_hit() {
    replay("store_segment", super::segment);
}
