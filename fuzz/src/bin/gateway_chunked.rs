//! The chunked coding, cut anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_gateway::fuzzing::chunked(data));
