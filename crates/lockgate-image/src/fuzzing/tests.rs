//! The seeds of every target, without a fuzzer.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn archives_are_read_alike_however_they_arrive() {
    replay("image_tar", super::tar);
}

#[test]
fn dockerfiles_are_read_or_refused_at_their_place() {
    replay("image_dockerfile", super::dockerfile);
}

#[test]
fn ignore_files_agree_with_a_slow_reader() {
    replay("image_ignore", super::ignore);
}

#[test]
fn component_patterns_agree_with_a_slow_reader() {
    replay("image_component", super::component);
}

#[test]
fn references_print_as_they_read() {
    replay("image_reference", super::image_reference);
}

#[test]
fn documents_of_a_registry_are_written_as_they_read() {
    replay("image_registry", super::registry);
}

#[test]
fn layers_stay_in_their_root_and_in_step_with_the_index() {
    replay("image_layers", super::layers);
}
