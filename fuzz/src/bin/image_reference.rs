//! Image references.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_image::fuzzing::image_reference(data));
