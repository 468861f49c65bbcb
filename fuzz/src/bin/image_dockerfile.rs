//! Dockerfiles: parsed, outlined, evaluated.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_image::fuzzing::dockerfile(data));
