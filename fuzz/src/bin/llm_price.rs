//! Price files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_llm::fuzzing::price(data));
