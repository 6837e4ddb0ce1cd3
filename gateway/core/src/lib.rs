//! What the gateway decides: framing, routes, authentication, clusters, and the plan that
//! holds them together.
//!
//! Nothing here does I/O, reads a clock or draws a random number: those are arguments, so
//! that a test can replay any decision.

pub mod access_log;
pub mod auth;
pub mod cluster;
pub mod config;
pub mod diff;
pub mod explain;
pub mod file;
pub mod framing;
pub mod identity;
pub mod path;
pub mod pipeline;
pub mod plan;
pub mod route;
pub mod words;
