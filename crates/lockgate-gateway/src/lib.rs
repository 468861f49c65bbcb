//! The HTTP/1.1 data plane of a node.
//!
//! In: a [`GatewaySpec`] over a watch channel, and client connections. Out: answers, one
//! [`RequestRecord`] and one access-log line per request, Prometheus text, and the status of the
//! table. Strict in, canonical out: what is ambiguous is refused, and what is forwarded is written
//! anew from validated parts.
//!
//! It never asks the control plane or a database while serving, never serves half a table, never
//! sends an unsafe request twice, and never lets a cut answer look complete.
//!
//! Start reading at [`Gateway::start`], then `conn.rs` (the life of a connection), `conn/plan.rs`
//! (the decision about a request) and `conn/exchange.rs` (the upstream side).
//!
//! [`RequestRecord`]: lockgate_model::record::RequestRecord
#![deny(missing_docs)]

mod gateway;
mod settings;

mod compiler;
mod table;
mod table_file;

mod conn;
mod core;
mod failure;
mod h1;
mod path;
mod policy;
mod upstream;
mod worker;

mod buffer;
mod io;

mod access_log;
mod metrics;
mod trace;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

use std::io::Result as IoResult;
use std::net::TcpStream;

#[cfg(doc)]
use lockgate_model::gateway::GatewaySpec;

pub use gateway::{DrainReport, Gateway, Running, StartError};
pub use policy::auth::key_hash;
pub use settings::{GatewaySettings, Limits, RATE_GRACE};
pub use table::compile::check;

/// Reaches endpoints whose sockets are handed over from a sandbox's own name space.
#[async_trait::async_trait]
pub trait Dial: Send + Sync {
    /// A connected socket to `port` inside `instance`. Called on a worker under the route's
    /// connect time limit; must not block. May be dropped half-way.
    async fn dial(&self, instance: &str, port: u16) -> IoResult<TcpStream>;
}
