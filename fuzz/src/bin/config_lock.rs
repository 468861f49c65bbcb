//! Lock files, read and written.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_config::fuzzing::lock(data));
