//! The seeds of the target, without a fuzzer.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[test]
fn references_are_read_in_one_way() {
    replay::replay("yaml_reference", super::reference);
}
