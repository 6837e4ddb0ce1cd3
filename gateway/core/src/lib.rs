//! What the gateway decides: framing, routes, authentication, policy, clusters.
//!
//! Nothing here does I/O, reads a clock or draws a random number: those are
//! arguments, so that a test can replay any decision.

pub mod auth;
pub mod cluster;
pub mod framing;
pub mod words;
