//! Bytes of a property bag.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_pulumi::fuzzing::properties(data));
