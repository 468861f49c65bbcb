//! Bytes of the requests of a program.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_pulumi::fuzzing::request(data));
