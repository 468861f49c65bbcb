//! Journals of whole frames, one of which is harmed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_state::fuzzing::frames(data));
