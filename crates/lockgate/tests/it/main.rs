//! Lockgate through its front door: the real binary, in a world of its own per test.

mod ai;
mod components;
mod console;
mod crash;
mod faults;
mod hello;
mod images;
mod languages;
mod places;
mod program;
mod registries;
mod secrets;
mod services;
mod stacks;
mod state;
mod support;
mod usage;
