//! The gateway as its clients and upstreams see it: real sockets, scripted peers.

mod support;

mod ai;
mod framing;
mod hostile;
mod lifecycle;
mod paths;
mod policies;
mod retries;
mod slow;
mod tls;
