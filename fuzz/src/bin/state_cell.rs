//! Ciphertexts of secrets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_state::fuzzing::cell(data));
