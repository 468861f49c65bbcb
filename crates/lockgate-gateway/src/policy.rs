//! Policies: synchronous functions over a borrowed view of the request.

pub(crate) mod auth;
pub(crate) mod limit;
