//! The seeds of the fuzz target `yaml_program`, without a fuzzer.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[test]
fn any_text_is_a_program_or_mistakes_in_the_file() {
    replay::replay("yaml_program", crate::oracle::program);
}
