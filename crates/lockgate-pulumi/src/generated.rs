//! Bindings of the programs' protocol, written by `cargo xtask codegen` from `proto/`.
#![expect(
    clippy::all,
    clippy::allow_attributes,
    unreachable_pub,
    reason = "generated"
)]

include!("generated/pulumirpc.rs");
