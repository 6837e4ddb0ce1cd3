//! The whole gateway over real sockets of the loopback interface: one file a topic.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod auth;
mod balancing;
mod framing;
mod headers;
mod keys;
mod lifecycle;
mod program;
mod requests;
mod retries;
mod upstream_answers;
