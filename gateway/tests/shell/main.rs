//! The whole gateway over real sockets of the loopback interface: one file a topic.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod api_key;
mod attacks;
mod auth;
mod balancing;
mod credentials;
mod framing;
mod headers;
mod identity;
mod keys;
mod lifecycle;
mod program;
mod requests;
mod retries;
mod revocation;
mod upgrade;
mod upstream_answers;
