//! The matcher of .dockerignore beside a slow one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_image::fuzzing::ignore(data));
