//! Hostile layers, unpacked to a real folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_image::fuzzing::layers(data));
