//! Tests of the store from outside.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod totals;
