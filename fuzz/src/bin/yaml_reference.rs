//! References inside text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_yaml::fuzzing::reference(data));
