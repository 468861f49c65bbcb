//! The seeds of every target, without a fuzzer.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn whole_frames_are_read_and_damage_is_told() {
    replay("state_frames", super::frames);
}

#[test]
fn any_bytes_are_a_journal_of_whole_frames() {
    replay("state_journal", super::journal);
}

#[test]
fn entries_are_read_as_written() {
    replay("state_entry", super::entry);
}

#[test]
fn deployments_are_written_as_read() {
    replay("state_deployment", super::deployment);
}

#[test]
fn snapshots_are_read_as_written() {
    replay("state_snapshot", super::snapshot);
}

#[test]
fn altered_cells_do_not_open() {
    replay("state_cell", super::cell);
}
