//! API (under construction).
