//! Deployment JSON of ours, with values of every kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_state::fuzzing::snapshot(data));
