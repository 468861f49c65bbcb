//! Property values over the wire and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_pulumi::fuzzing::value(data));
