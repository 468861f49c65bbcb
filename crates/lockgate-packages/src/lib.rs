//! Native resource packages: type token and property bag in, typed call out.
//!
//! In: calls of the engine ([`lockgate_engine::Provider`]) with checked values. Out: commands run,
//! images built, wishes sent to a node, random values; and the packages' schemas.
//! Never: state files, the program's source, the wall clock, or an environment variable that was
//! not passed in.
//!
//! Start reading at [`Packages`], which finds a package by name; `package` is the part that is
//! the same for every resource type, [`node::Node`] the trait behind which the node is, and
//! [`stacks::Stacks`] the one behind which other stacks are.
#![deny(missing_docs)]

mod bag;
mod check;
mod command;
mod diff;
mod hash;
pub mod images;
mod lockgate;
pub mod node;
mod package;
mod packages;
mod path;
pub mod pins;
mod pulumi;
mod random;
pub mod schema;
pub mod stacks;

pub use node::{Node, NodeError};
pub use packages::{Packages, PackagesSettings};
pub use stacks::{ReferencedStack, Stacks, StacksError};

/// An error and everything that led to it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
