//! Tests of the control side from outside: a scripted platform and gateway, a real SQLite store,
//! paused time.

#[cfg(test)]
mod objects;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod supervision;
#[cfg(test)]
mod world;
