//! Upstreams: endpoints, their load and health, the choice among them.
//!
//! | file | holds |
//! |---|---|
//! | `endpoint.rs` | one address, with its load and health |
//! | `aperture.rs` | how much of a large set one worker uses |
//! | `set.rs` | one snapshot of all addresses of an upstream |
//! | `view.rs` | the endpoints of one choice: all, or a subset |
//! | `pool.rs`, `alias.rs` | endpoints drawn by weight, or in turns |
//! | `maglev.rs`, `key.rs` | endpoints looked up by a request's key |
//! | `zone.rs` | the endpoints of our own zone, and the share that stays there |
//! | `load.rs` | how busy and how fast an endpoint is |
//! | `health.rs`, `health/` | whether an endpoint is left out, and how it comes back |
//! | `lease.rs` | a request counted against an endpoint, and how it ended |
//! | `balance/` | the choice of an endpoint, one file a policy |
//! | `retry.rs` | whether a failed try may be made again, and when |
//! | `budget.rs` | how many retries an upstream gets |
//! | `limits.rs` | how much of the gateway an upstream may hold |
//! | `adaptive.rs`, `adaptive/` | a limit on requests that finds itself |
//! | `priority.rs` | whose requests are shed first |
//! | `deadline.rs` | how an upstream is told how long it may take |

mod adaptive;
mod alias;
pub mod aperture;
pub mod balance;
mod budget;
pub mod deadline;
mod endpoint;
pub mod health;
mod key;
mod lease;
mod limits;
mod load;
mod maglev;
mod pool;
mod priority;
pub mod retry;
mod set;
#[cfg(test)]
mod tests;
mod view;
mod zone;

pub use adaptive::{AdaptiveLimit, AdaptiveRules};
pub use budget::RetryBudget;
pub use endpoint::{Endpoint, Instance};
pub use health::{Health, HealthState, SetHealth};
pub use key::HashKey;
pub use lease::{Lease, Outcome};
pub use limits::{Busy, Held, Limits, Usage};
pub use load::Load;
pub use priority::{Priority, PriorityShares};
pub use set::EndpointSet;
pub use view::Subset;
pub use zone::ZonePreference;
