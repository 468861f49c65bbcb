//! Whole programs: checked, and run against fake packages.
#![no_main]

#[path = "../../../crates/lockgate-yaml/tests/it/fake.rs"]
mod fake;
#[path = "../../../crates/lockgate-yaml/tests/it/oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::program(data));
