//! How a run is shown: a live tree on a terminal, plain lines elsewhere, JSON events on request.

pub(crate) mod diff;
pub(crate) mod events;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod words;
