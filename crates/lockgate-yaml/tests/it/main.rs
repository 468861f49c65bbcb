//! Programs as users write them: diagnostics by golden, evaluation against a fake monitor.

mod components;
mod evaluate;
mod fake;
mod golden;
mod load;
mod oracle;
mod random;
mod seeds;
mod speed;
