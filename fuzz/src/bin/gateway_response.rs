//! What the gateway takes as an answer's head, and what it passes on of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_gateway::fuzzing::response(data));
