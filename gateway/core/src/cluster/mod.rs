//! Upstreams: endpoints, their load and health, the choice among them.
//!
//! | file | holds |
//! |---|---|
//! | `endpoint.rs` | one address, with its load and health |
//! | `set.rs` | one snapshot of all addresses of an upstream |
//! | `load.rs` | how busy an endpoint is |
//! | `health.rs`, `health/` | whether an endpoint is left out, and how it comes back |
//! | `lease.rs` | a request counted against an endpoint, and how it ended |
//! | `balance/` | the choice of an endpoint, one file a policy |
//! | `retry.rs` | whether a failed try may be made again |

pub mod balance;
mod endpoint;
pub mod health;
mod lease;
mod load;
pub mod retry;
mod set;

#[cfg(test)]
mod tests;

pub use endpoint::{Endpoint, Instance};
pub use health::{Health, HealthState, SetHealth};
pub use lease::{Lease, Outcome};
pub use load::Load;
pub use set::EndpointSet;
