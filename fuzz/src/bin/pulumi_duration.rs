//! Durations of custom time limits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_pulumi::fuzzing::duration(data));
