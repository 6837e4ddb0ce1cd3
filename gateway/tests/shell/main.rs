//! The whole gateway over real sockets of the loopback interface: one file a topic.

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod admin;
mod admin_api;
mod answer_heads;
mod api_key;
mod attacks;
mod auth;
mod balancing;
mod check;
mod credentials;
mod diff;
mod discovery;
mod explain;
mod framing;
mod headers;
mod health;
mod hedging;
mod held_answers;
mod identity;
mod idle;
mod keys;
mod lifecycle;
mod log_output;
mod observability;
mod overload;
mod program;
mod reload;
mod requests;
mod resilience;
mod retries;
mod revocation;
mod top;
mod tracing;
mod upgrade;
mod upstream_answers;
