//! Bodies of the ledger's entries.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_store::fuzzing::entry(data));
