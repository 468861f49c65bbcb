//! What the gateway takes as a request, and what it forwards of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_gateway::fuzzing::request(data));
