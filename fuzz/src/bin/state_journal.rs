//! Any bytes as a journal or an entry.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_state::fuzzing::journal(data));
