//! What this machine allows the local platform to do, found by trying it.
