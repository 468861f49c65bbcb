//! Lockgate through its front door: the real binary, in a world of its own per test.
#![expect(
    clippy::disallowed_methods,
    reason = "tests of a program look at real files and real time"
)]

mod console;
mod crash;
mod faults;
mod hello;
mod images;
mod program;
mod secrets;
mod services;
mod stacks;
mod support;
mod usage;
