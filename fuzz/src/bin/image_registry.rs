//! Documents and challenges of registries.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_image::fuzzing::registry(data));
