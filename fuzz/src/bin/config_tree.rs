//! Any text as a YAML tree.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_config::fuzzing::tree(data));
