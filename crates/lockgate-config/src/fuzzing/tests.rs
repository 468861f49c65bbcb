//! The seeds of every target, without a fuzzer.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn texts_are_trees_or_mistakes_in_the_file() {
    replay("config_tree", super::tree);
}

#[test]
fn projects_are_read_or_refused_at_their_place() {
    replay("config_project", super::project);
}

#[test]
fn settings_are_read_or_refused_at_their_place() {
    replay("config_settings", super::settings);
}

#[test]
fn locks_are_written_as_they_were_read() {
    replay("config_lock", super::lock);
}

#[test]
fn edits_of_a_stack_file_leave_the_rest() {
    replay("config_stack", super::stack);
}
