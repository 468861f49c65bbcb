//! Journal entries, written and read.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_state::fuzzing::entry(data));
