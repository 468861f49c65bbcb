//! The normal form of paths.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_gateway::fuzzing::path(data));
