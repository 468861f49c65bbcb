//! A ledger that is written, damaged and opened again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_store::fuzzing::segment(data));
