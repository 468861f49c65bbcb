//! Deployment JSON of any origin.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_state::fuzzing::deployment(data));
