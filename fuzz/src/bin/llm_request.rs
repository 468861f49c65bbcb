//! What is read of a chat request, and what is made of it for a vendor.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_llm::fuzzing::request(data));
