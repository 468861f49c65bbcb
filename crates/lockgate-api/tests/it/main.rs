//! Tests of the API from outside, over real sockets.

#[cfg(test)]
mod admission;
#[cfg(test)]
mod client;
#[cfg(test)]
mod console;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod world;
