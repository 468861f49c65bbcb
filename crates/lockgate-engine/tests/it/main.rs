//! Tests of the engine: one file per feature under `lifecycle`, crash points and random runs
//! beside them. All run against the fake world of `world.rs`.

mod crash;
mod lifecycle;
mod program;
mod random;
mod speed;
mod world;
