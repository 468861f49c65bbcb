//! Tests of the store from outside.

#[cfg(test)]
mod sqlite;
