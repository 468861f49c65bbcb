//! The tokens of a whole answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_llm::fuzzing::answer(data));
