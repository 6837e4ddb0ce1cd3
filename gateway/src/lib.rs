//! An API gateway and service mesh for Amazon ECS.
//!
//! This crate is the shell: sockets, upstream connections, discovery, keys, telemetry and the
//! command line. What is decided about a request is decided in `gateway-core`.
//! ARCHITECTURE.md has the map.

pub mod dev;
pub mod discovery;

mod admin;
mod app;
mod cause;
mod clock;
mod documents;
mod fetch;
mod files;
mod health_check;
mod identity;
mod io;
mod jwks;
mod lifecycle;
mod proxy;
mod server;
mod telemetry;
mod upgrade;
mod upstream;

pub mod cli;

pub use app::{ConfigSource, Gateway, Handle, Options, StartError, Stop};
pub use lifecycle::Readiness;
