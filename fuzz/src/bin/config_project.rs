//! Project files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_config::fuzzing::project(data));
