//! The whole gateway over real sockets of the loopback interface: one file a topic.

#[path = "../support/mod.rs"]
mod support;

mod framing;
mod requests;
mod upstream_answers;
