//! The HTTP API of a node, its client, and the console.
//!
//! In: requests on a Unix socket (the user's own processes) or on TCP with a bearer key. Out: calls
//! of the control crate's use cases, and their results as JSON; long work streams JSON lines.
//! The same operations come back as typed calls through [`Client`].
//!
//! It decides nothing: a rule that is checked here and not in the use case would not hold for
//! other callers. Secrets appear in requests only, never in a response; the console's one-time
//! link is the exception. Wire types are apart from the model; `openapi.json` beside this crate is
//! their contract, and a test compares it.
//!
//! Start reading at [`Api`] and `router.rs` (the list of operations), at [`Client`], or at
//! `console.rs` (the pages).

mod client;
mod console;
mod failure;
mod handlers;
mod openapi;
mod router;
mod server;
pub mod wire;

pub use client::{Client, ClientError, Target};
pub use console::{OpenConsole, serve_console};
pub use openapi::document;
pub use router::{Api, NodeInfo, Shutdown};
pub use server::{Listener, bind_unix, serve};
