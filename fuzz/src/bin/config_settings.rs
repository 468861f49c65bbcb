//! Settings of a node.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_config::fuzzing::settings(data));
