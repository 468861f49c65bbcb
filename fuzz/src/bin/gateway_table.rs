//! The table file, and the compiler of its spec.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_gateway::fuzzing::table(data));
