//! One file per feature of the engine; each is the specification of its feature.

mod basics;
mod components;
mod existing;
mod failures;
mod guards;
mod identity;
mod import;
mod interrupts;
mod invoke;
mod options;
mod order;
mod replace;
mod secrets;
mod targets;
