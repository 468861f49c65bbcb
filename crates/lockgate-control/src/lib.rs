//! Control (under construction).
