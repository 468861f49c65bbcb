//! The event stream of an answer, cut anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_llm::fuzzing::stream(data));
