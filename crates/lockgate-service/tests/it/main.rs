//! The local platform against the real kernel: what runs, what it sees, what is left of it.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and some measure how long a real stop takes"
)]

#[path = "../../examples/sandbox-fixture/support.rs"]
mod support;

mod lab;

mod adoption;
mod image;
mod life;
mod limits;
mod machine;
mod sight;
