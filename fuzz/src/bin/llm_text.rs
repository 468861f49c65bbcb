//! JSON strings on borrowed bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_llm::fuzzing::json_text(data));
