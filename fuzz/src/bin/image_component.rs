//! Patterns of one path component beside a slow matcher.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_image::fuzzing::component(data));
