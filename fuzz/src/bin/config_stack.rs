//! Stack files and their edits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_config::fuzzing::stack(data));
