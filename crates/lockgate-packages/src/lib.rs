//! Native resource packages: type token and property bag in, typed call out.
//!
//! In: calls of the engine ([`lockgate_engine::Provider`]) with checked values. Out: commands run,
//! images built, wishes sent to a node, random values; and the packages' schemas.
//! Never: state files, the program's source, the wall clock, or an environment variable that was
//! not passed in.
//!
//! Start reading at [`node::Node`], the trait behind which the node is.
#![deny(missing_docs)]

pub mod node;

pub use node::{Node, NodeError};
